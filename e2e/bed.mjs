// The test bed: the whole product on loopback (server, exchange, mail server), started once for a
// test file. What it answers stands in cmd/holdfast/testbed_test.go.
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";

export const root = path.resolve(import.meta.dirname, "..");

async function ended(child, what) {
  const [code, signal] = await once(child, "exit");
  if (code !== 0) throw new Error(`${what} ended with ${code ?? signal}`);
}

// openBed builds and starts a test bed. It returns its description, a function that calls its
// control server, and one that ends it.
export async function openBed() {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "holdfast-bed-"));
  const binary = path.join(scratch, "bed");
  await ended(spawn("go", ["test", "-c", "-o", binary, "./cmd/holdfast"], { cwd: root, stdio: "inherit" }), "go test -c");
  const child = spawn(binary, ["-test.run=^TestBed$", "-test.timeout=15m"], {
    cwd: path.join(root, "cmd", "holdfast"), env: { ...process.env, HOLDFAST_TESTBED_SERVE: "1" }, stdio: ["pipe", "pipe", "inherit"],
  });
  const early = ended(child, "the test bed").then(() => { throw new Error("the test bed ended"); });
  early.catch(() => {}); // it ends in the end
  const [line] = await Promise.race([once(readline.createInterface({ input: child.stdout }), "line"), early]);
  const description = JSON.parse(line);
  return {
    description,
    control: (call, body) => control(description, call, body),
    async close() {
      if (child.exitCode === null) {
        child.stdin.end();
        await once(child, "exit");
      }
      fs.rmSync(scratch, { recursive: true, force: true });
    },
  };
}

// control calls a bed's control server.
export async function control(description, call, body = {}) {
  const answer = await fetch(`${description.control}/${call}`, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${call}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
