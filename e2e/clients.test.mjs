// Unmodified exchange clients as a thief's bot, against the example exchange over TLS, which asks a
// real Holdfast server. Each client runs in its own process, because Node reads the CA file only
// when it starts.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { after, before, test } from "node:test";
import { openBed, root } from "./bed.mjs";

let bed;
before(async () => { bed = await openBed(); });
after(() => bed?.close());

for (const client of ["ccxt", "binance"]) {
  test(`${client} runs unmodified`, async () => {
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: bed.description.ca, HOLDFAST_TESTBED: JSON.stringify(bed.description) };
    delete env.NODE_TEST_CONTEXT; // it would make the child report to this process's runner
    const child = spawn(process.execPath, ["--require", path.join(root, "examples/exchange/testdata/resolve-localhost.cjs"),
      "--test-reporter=spec", path.join(root, "e2e/clients", `${client}.mjs`)], { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] });
    const [code, signal] = await once(child, "exit");
    assert.equal(code, 0, `${client} ended with ${code ?? signal}`);
  });
}
