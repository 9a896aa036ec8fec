// Unmodified exchange clients as a thief's bot, against the example exchange over TLS.
//
// HOLDFAST_TESTBED_COMMAND is the command that runs the test bed (a shell line); it prints one
// JSON line that describes it (examples/exchange/cmd/testbed says what) and ends when its
// standard input does. Each client runs in its own process, because Node reads the CA file
// only when it starts.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { after, before, test } from "node:test";

const root = path.resolve(import.meta.dirname, "..");
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "holdfast-clients-"));
let process_, bed;

async function ok(child, what) {
  const [code, signal] = await once(child, "exit");
  assert.equal(code, 0, `${what} ended with ${code ?? signal}`);
}

before(async () => {
  let command = process.env.HOLDFAST_TESTBED_COMMAND;
  if (!command) {
    const binary = path.join(scratch, "testbed");
    await ok(spawn("go", ["build", "-o", binary, "./examples/exchange/cmd/testbed"], { cwd: root, stdio: "inherit" }), "go build");
    command = binary;
  }
  process_ = spawn("/bin/sh", ["-c", `exec ${command}`], { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
  const first = once(readline.createInterface({ input: process_.stdout }), "line");
  const ended = once(process_, "exit").then(([code]) => { throw new Error(`the test bed ended with ${code}`); });
  ended.catch(() => {});
  const [line] = await Promise.race([first, ended]);
  bed = JSON.parse(line);
});

after(async () => {
  if (process_ && process_.exitCode === null) {
    process_.stdin.end();
    await once(process_, "exit");
  }
  fs.rmSync(scratch, { recursive: true, force: true });
});

for (const client of ["ccxt", "binance"]) {
  test(`${client} runs unmodified`, async () => {
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: bed.ca, HOLDFAST_TESTBED: JSON.stringify(bed) };
    delete env.NODE_TEST_CONTEXT; // it would make the child report to this process's runner
    const child = spawn(process.execPath, ["--require", path.join(root, "examples/exchange/testdata/resolve-localhost.cjs"),
      "--test-reporter=spec", path.join(root, "e2e/clients", `${client}.mjs`)], { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] });
    await ok(child, client);
  });
}
