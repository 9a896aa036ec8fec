// What `make run` prints, done word for word: everything below is read from the printed text, as a
// newcomer would, and nothing is known beforehand. The four numbered things are tried one after the
// other in Chromium at phone size, the account is restored in between with the printed commands,
// and the run is interrupted and started again.
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const root = path.resolve(import.meta.dirname, "..");
const binary = process.env.HOLDFAST_BIN ?? build();
const patience = 30_000;

function build() {
  const file = path.join(root, ".tools", "bin", "holdfast");
  execFileSync("go", ["build", "-buildvcs=false", "-o", file, "./cmd/holdfast"], { cwd: root, stdio: "inherit" });
  return file;
}

// Run is one `holdfast run` and what it has printed.
class Run {
  constructor(state) {
    this.text = "";
    this.waiting = new Set();
    this.child = spawn(binary, ["run", "--state", state], {
      env: { ...process.env, HOLDFAST_PAGES: "127.0.0.1:0", HOLDFAST_API: "127.0.0.1:0", HOLDFAST_EXCHANGE: "127.0.0.1:0" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (more) => { this.text += more; for (const look of this.waiting) look(); });
    }
    this.ended = new Promise((resolve) => this.child.once("exit", (code) => { resolve(code); for (const look of this.waiting) look(code); }));
  }

  // says waits until the text after a place matches, and returns the match.
  says(pattern, from = 0) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => { clearTimeout(timer); this.waiting.delete(look); settle(value); };
      const look = (code) => {
        const match = this.text.slice(from).match(pattern);
        if (match) done(resolve, match);
        else if (code !== undefined) done(reject, new Error(`ended with ${code} before it said ${pattern}:\n${this.text}`));
      };
      const timer = setTimeout(() => done(reject, new Error(`did not say ${pattern}:\n${this.text}`)), patience);
      this.waiting.add(look);
      look();
    });
  }

  get here() { return this.text.length; }

  async interrupt() {
    this.child.kill("SIGINT");
    return this.ended;
  }
}

// shell runs a printed command, with the words in it that stand for something replaced.
async function shell(command) {
  return (await promisify(execFile)("bash", ["-c", command], { cwd: root })).stdout.trim();
}

// restore types the two printed commands.
async function restore(run, from) {
  const [, propose] = await run.says(/^ {2}(\S.* restore propose .*)$/m, from);
  const [, approve] = await run.says(/^ {2}(\S.* restore approve PLAN .*?) {2,}\(/m, from);
  const plan = await shell(propose);
  await assert.rejects(shell(approve.replace("PLAN", plan).replace(/operator-2/, "operator-1")), /Another operator/, "one operator alone must not restore");
  await shell(approve.replace("PLAN", plan));
  await run.says(/RESTORED/, from);
}

// frozen waits until the thief has been refused and every exit has its receipt.
async function frozen(run, from) {
  await run.says(/FROZEN at/, from);
  await run.says(/Every exit is confirmed closed\./, from);
}

test("the first five minutes", { timeout: 240_000 }, async (t) => {
  const state = fs.mkdtempSync(path.join(os.tmpdir(), "holdfast-first-"));
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 390, height: 844 } });
  const tab = await context.newPage();
  let run = new Run(state);
  t.after(async () => {
    await browser.close();
    await run.interrupt();
    fs.rmSync(state, { recursive: true, force: true });
  });

  await t.test("it says what it is and lets the thief work", async () => {
    await run.says(/Holdfast is ready\./);
    await run.says(/unknown device .*: accepted/);
    await run.says(/thief: withdraw 0\.05 BTC: accepted/);
    await run.says(/thief: offer .*: accepted/);
  });

  await t.test("1: the mailbox, a mail, its link, the button", async () => {
    const from = run.here;
    const [, mailbox] = await run.says(/1\. Open (\S+),/);
    await tab.goto(mailbox);
    await tab.locator('main a[href^="/mailbox/"]').filter({ hasText: /sign-in/i }).first().click();
    await tab.locator('main a[href*="/freeze/"]').first().click();
    assert.match(await tab.locator("main").innerText(), /Opening this page changed nothing/);
    await tab.locator("main form button").first().click();
    await tab.waitForURL("**/frozen");
    await frozen(run, from);
    await run.says(/thief: .*: refused, account frozen/, from);
    await tab.reload();
    const page = await tab.locator("main").innerText();
    assert.match(page, /Pending withdrawals/);
    assert.match(page, /Open orders/);
    assert.doesNotMatch(page, /Not confirmed/);
  });

  await t.test("Ctrl-C, and again: the account is as it was left", async () => {
    assert.equal(await run.interrupt(), 0);
    run = new Run(state);
    await run.says(/The account is frozen, as you left it\./);
    await run.says(/thief: .*: refused, account frozen/);
    await restore(run, 0);
    await run.says(/thief: .*: refused, the key does not work any more/);
  });

  await t.test("2: sign in with the printed password and press Freeze", async () => {
    const from = run.here;
    const [, page, mail, password] = await run.says(/2\. Sign in at (\S+) as (\S+), password (\S+), and/);
    await tab.goto(page);
    await tab.getByLabel(/mail/i).first().fill(mail);
    await tab.locator('input[name="password"]').fill(password);
    await tab.locator('main form[action="/sign-in"] button[type=submit]').click();
    await tab.waitForURL((url) => url.pathname === "/");
    await tab.locator("#freeze").click();
    await tab.waitForURL("**/freeze");
    await tab.locator("#freeze").click();
    await frozen(run, from);
    await restore(run, from);
  });

  await t.test("3: logged out, with the printed freeze code", async () => {
    const from = run.here;
    const [, page, mail, code] = await run.says(/3\. .* at (\S+): address (\S+), freeze code ([0-9A-Z-]+)\./);
    await context.clearCookies();
    await tab.goto(page);
    const form = tab.locator('main form[action="/emergency"]');
    await form.locator('input[name="mail"]').fill(mail);
    await form.locator('input[name="code"]').fill(code);
    await form.locator("button").first().click();
    await tab.waitForURL("**/frozen");
    await frozen(run, from);
    await restore(run, from);
  });

  await t.test("4: the command line", async () => {
    const from = run.here;
    const [, command] = await run.says(/4\. In another terminal: (.*)$/m);
    await assert.rejects(shell(command.replace(" --yes", "")), /add --yes/);
    await shell(command);
    await frozen(run, from);
  });

  await t.test("a busy port is named with the variable that changes it", async () => {
    const [, address] = await run.says(/pages +http:\/\/(\S+)/);
    const other = fs.mkdtempSync(path.join(os.tmpdir(), "holdfast-first-"));
    await assert.rejects(promisify(execFile)(binary, ["run", "--state", other], { env: { ...process.env, HOLDFAST_PAGES: address } }),
      (e) => e.stderr.includes(address) && e.stderr.includes("HOLDFAST_PAGES"));
    fs.rmSync(other, { recursive: true });
  });
});
