// Keeps the tools that write to the folders of a worker: pi itself lets them write everywhere.

import fs from "node:fs";
import path from "node:path";
import os from "node:os";

const FOLDERS: string[] = ["FOLDERS"];
const WRITING = ["edit", "write"];

// As the file system sees it: what is there already may be a link to somewhere else.
function real(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch {
    const folder = path.dirname(file);
    return folder === file ? file : path.join(real(folder), path.basename(file));
  }
}

function isInside(file: string, folder: string): boolean {
  const way = path.relative(real(folder), real(file));
  return way !== ".." && !way.startsWith(".." + path.sep) && !path.isAbsolute(way);
}

export default function (pi: any) {
  pi.on("tool_call", (event: any, context: any) => {
    if (!WRITING.includes(event.toolName)) return;
    const given = String(event.input?.path ?? event.input?.file_path ?? "").replace(/^@/, "");
    const file = path.resolve(context?.cwd ?? process.cwd(), given.replace(/^~(?=\/|$)/, os.homedir()));
    if (FOLDERS.some((folder) => isInside(file, folder))) return;
    return { block: true, reason: `${file} is outside of this worker's workspace` };
  });
}
