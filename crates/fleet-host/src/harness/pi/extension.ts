// Tells the supervisor of this agent what pi does: the op `report` of docs/supervisor-protocol.md.
//
// It must never be noticed. It prints nothing, throws nothing and keeps no process alive; where nobody listens, what it
// has to say is dropped. Before a tool runs it asks the supervisor, which may answer `{"block": "why"}`; whoever does
// not answer in time has nothing against it.

import fs from "node:fs";
import net from "node:net";

const JSON_FRAME = 1;
const PATIENCE_MS = 1000;
const BEAT_MS = 15_000;
// The supervisor takes no larger event.
const LONGEST_TEXT = 512 * 1024;

function frame(value: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(value));
  const head = Buffer.alloc(5);
  head.writeUInt32LE(body.length + 1, 0);
  head[4] = JSON_FRAME;
  return Buffer.concat([head, body]);
}

class Supervisor {
  private socket: net.Socket | undefined;
  private received = Buffer.alloc(0);
  private waiting = new Map<number, (answer: any) => void>();
  private last = 0;

  constructor(private readonly path: string) {}

  tell(event: object): void {
    this.request(event);
  }

  ask(event: object): Promise<any> {
    return new Promise((resolve) => {
      const id = this.request(event);
      if (id === undefined) return resolve(undefined);
      const timer = setTimeout(() => this.answered(id, undefined), PATIENCE_MS);
      this.waiting.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
    });
  }

  private request(event: object): number | undefined {
    try {
      const id = ++this.last;
      this.connected().write(frame({ id, op: "report", harness: "pi", event }));
      return id;
    } catch {
      return undefined;
    }
  }

  private connected(): net.Socket {
    if (this.socket) return this.socket;
    const socket = net.createConnection(this.path);
    const gone = () => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      this.received = Buffer.alloc(0);
      for (const id of [...this.waiting.keys()]) this.answered(id, undefined);
    };
    socket.on("error", gone);
    socket.on("close", gone);
    socket.on("data", (data) => this.take(data));
    socket.unref();
    socket.write(frame({ hello: 1 }));
    this.socket = socket;
    return socket;
  }

  private take(data: Buffer): void {
    this.received = Buffer.concat([this.received, data]);
    while (this.received.length >= 4) {
      const end = 4 + this.received.readUInt32LE(0);
      if (this.received.length < end) return;
      const body = this.received.subarray(5, end);
      this.received = this.received.subarray(end);
      try {
        const message = JSON.parse(body.toString());
        this.answered(message.id, message.ok);
      } catch {
        // Not for us.
      }
    }
  }

  private answered(id: number, answer: any): void {
    const resolve = this.waiting.get(id);
    this.waiting.delete(id);
    resolve?.(answer);
  }
}

// A file that says that pi still turns its loop, and with which model: docs/files.md has its fields. Nobody is woken by
// it; who wants to know reads it.
class Heartbeat {
  private timer: NodeJS.Timeout | undefined;
  private model: string | undefined;
  private works = false;

  constructor(private readonly path: string) {}

  start(): void {
    this.timer ??= setInterval(() => this.beat(), BEAT_MS);
    this.timer.unref();
    this.beat();
  }

  now(change: { model?: any; works?: boolean }): void {
    if (change.model) this.model = `${change.model.provider}/${change.model.id}`;
    this.works = change.works ?? this.works;
    if (this.timer) this.beat();
  }

  private beat(): void {
    const { model, works } = this;
    const text = JSON.stringify({ v: 1, at: new Date().toISOString(), pid: process.pid, model, works });
    try {
      fs.writeFileSync(`${this.path}.new`, text + "\n", { mode: 0o600 });
      fs.renameSync(`${this.path}.new`, this.path);
    } catch {
      // A disk that is full ends no agent.
    }
  }
}

function textOf(message: any): string {
  const parts = typeof message.content === "string" ? [{ text: message.content }] : (message.content ?? []);
  return parts.map((part: any) => part.text ?? "").join("");
}

export default function (pi: any) {
  const path = process.env.FLEET_SOCKET;
  if (!path) return;
  const supervisor = new Supervisor(path);
  const heartbeat = process.env.FLEET_HEARTBEAT ? new Heartbeat(process.env.FLEET_HEARTBEAT) : undefined;

  pi.on("session_start", (_event: any, context: any) => {
    heartbeat?.now({ model: context.model });
    heartbeat?.start();
    supervisor.tell({ type: "session_start", id: context.sessionManager.getSessionId() });
  });
  pi.on("model_select", (event: any) => heartbeat?.now({ model: event.model }));
  pi.on("agent_start", () => heartbeat?.now({ works: true }));
  // A template or a skill that was typed by its name becomes another text. What was typed is known at `input`, that it
  // begins a turn at `before_agent_start`.
  let typed: string | undefined;
  let begun = false;
  const begins = (text: string) => supervisor.tell({ type: "turn", text: text.length > LONGEST_TEXT ? undefined : text });
  pi.on("input", (event: any) => {
    typed = event.text;
  });
  pi.on("before_agent_start", (event: any) => {
    begins(typed ?? event.prompt);
    begun = true;
  });
  // What was typed while it worked comes when the model gets it.
  pi.on("message_start", (event: any) => {
    if (event.message?.role !== "user") return;
    if (!begun) begins(textOf(event.message));
    begun = false;
  });
  pi.on("message_end", (event: any) => {
    const message = event.message;
    if (message?.role !== "assistant" || !message.usage) return;
    const { provider, model, usage, stopReason } = message;
    supervisor.tell({ type: "message_end", provider, model, usage, stopReason });
  });
  pi.on("agent_end", () => {
    heartbeat?.now({ works: false });
    supervisor.tell({ type: "agent_end" });
  });
  pi.on("tool_call", async (event: any) => {
    const answer = await supervisor.ask({ type: "tool_call", tool: event.toolName });
    if (typeof answer?.block === "string") return { block: true, reason: answer.block };
  });
}
