// Tells the supervisor of this agent what OpenCode does: the op `report` of docs/supervisor-protocol.md.
//
// It must never be noticed. It prints nothing, throws nothing and keeps no process alive; where nobody listens, what it
// has to say is dropped.

import net from "node:net";

const JSON_FRAME = 1;
// The supervisor takes no larger event.
const LONGEST_TEXT = 512 * 1024;
// Why it tries again is said in the first words.
const LONGEST_REASON = 500;
// An OpenCode that a tool starts inherits the plugin, and is not the agent.
const MARK = "FLEET_REPORTER";

function frame(value) {
  const body = Buffer.from(JSON.stringify(value));
  const head = Buffer.alloc(5);
  head.writeUInt32LE(body.length + 1, 0);
  head[4] = JSON_FRAME;
  return Buffer.concat([head, body]);
}

function supervisor(path) {
  let socket;
  let last = 0;
  const connected = () => {
    if (socket) return socket;
    const made = net.createConnection(path);
    const gone = () => {
      if (socket === made) socket = undefined;
    };
    made.on("error", gone);
    made.on("close", gone);
    made.on("data", () => {});
    made.unref();
    made.write(frame({ hello: 1 }));
    socket = made;
    return made;
  };
  return (event) => {
    try {
      connected().write(frame({ id: ++last, op: "report", harness: "opencode", event }));
    } catch {
      // Nobody listens.
    }
  };
}

export const Fleet = async () => {
  const path = process.env.FLEET_SOCKET;
  const reporter = process.env[MARK];
  if (!path || (reporter && reporter !== String(process.pid))) return {};
  process.env[MARK] = String(process.pid);
  const tell = supervisor(path);
  const children = new Set();
  const counted = new Set();
  // A command that was typed by its name becomes another text.
  const commands = new Map();

  // A reply is told of several times; what it used is whole when it is completed.
  const reply = ({ id, role, time, sessionID, modelID, providerID, tokens, cost }) => {
    if (role !== "assistant" || !time?.completed || !tokens || counted.has(id)) return;
    counted.add(id);
    const child = children.has(sessionID);
    tell({ type: "reply", provider: providerID, model: modelID, tokens, cost, child });
  };

  return {
    "command.execute.before": async ({ sessionID, command, arguments: words }) => {
      commands.set(sessionID, `/${command} ${words}`);
    },
    "chat.message": async ({ sessionID }, { parts }) => {
      if (children.has(sessionID)) return;
      const said = parts.filter((part) => part.type === "text" && !part.synthetic);
      const text = commands.get(sessionID) ?? said.map((part) => part.text).join("\n");
      commands.delete(sessionID);
      tell({ type: "chat.message", id: sessionID, text: text.length > LONGEST_TEXT ? undefined : text });
    },
    // What a title takes is in no message.
    "chat.params": async ({ agent }) => {
      if ((agent?.name ?? agent) === "title") tell({ type: "title" });
    },
    event: async ({ event: { type, properties } }) => {
      switch (type) {
        case "session.created":
        case "session.updated":
          if (properties.info.parentID) children.add(properties.info.id);
          return;
        case "message.updated":
          return reply(properties.info);
        case "session.status":
          if (properties.status?.type !== "retry") return;
          return tell({ type: "retry", message: String(properties.status.message).slice(0, LONGEST_REASON) });
        case "session.idle":
          if (!children.has(properties.sessionID)) tell({ type, id: properties.sessionID });
          return;
        case "permission.asked":
        case "permission.replied":
        case "question.asked":
        case "question.replied":
        case "question.rejected":
          return tell({ type });
      }
    },
  };
};
