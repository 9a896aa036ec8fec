// Pictures of every route in every state, at phone and desktop width, light and dark, with
// what each must hold asserted on the way. Run by `make shots`; a word as argument takes only
// the pages whose route or state contains it.
//
// The server is the test binary of web/holder (TestShotServer), which renders the product's
// own templates behind the product's own policy with fixed contents.
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { page as checks } from "./shots-checks.mjs";

const root = path.resolve(import.meta.dirname, "..");
const out = path.join(root, ".run", "shots");
const only = process.argv[2] ?? "";
const axeSource = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const sizes = [{ width: 390, height: 844 }, { width: 1280, height: 900 }];
const schemes = ["light", "dark"];
const faults = [];
const fault = (where, what) => { faults.push(`${where}: ${what}`); console.log(`  FAULT ${where}: ${what}`); };

fs.rmSync(out, { recursive: true, force: true });
fs.mkdirSync(out, { recursive: true });

async function serve() {
  const binary = path.join(out, "holder.test");
  const built = spawnSync("go", ["test", "-c", "-o", binary, "./web/holder"], { cwd: root, stdio: "inherit" });
  if (built.status !== 0) throw new Error("web/holder does not build");
  const file = path.join(out, "address");
  const server = spawn(binary, ["-test.run", "^(TestShotServer|TestEveryPageHasItsStates)$", "-test.timeout", "0"], {
    cwd: path.join(root, "web", "holder"), env: { ...process.env, HOLDFAST_SHOTS: file }, stdio: ["pipe", "inherit", "inherit"],
  });
  const ended = new Promise((resolve) => server.once("exit", (code) => resolve({ code })));
  for (;;) {
    if (fs.existsSync(file) && fs.readFileSync(file, "utf8") !== "") break;
    if (await Promise.race([ended, new Promise((r) => setTimeout(r, 50, false))])) throw new Error("the picture server ended");
  }
  return { base: fs.readFileSync(file, "utf8"), stop: async () => {
    server.stdin.end();
    if ((await ended).code !== 0) fault("states", "a route without a list of states, or a page that does not answer: see above");
    fs.rmSync(binary);
  } };
}

function listen(tab, where) {
  tab.on("console", (m) => { if (m.type() === "error" && !/status of 404/.test(m.text())) fault(where(), `console: ${m.text()}`); });
  tab.on("pageerror", (e) => fault(where(), `script: ${e.message}`));
}

async function look(browser, base, shots, size, scheme, freezeAt) {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, serviceWorkers: "block", timezoneId: "Europe/Paris", reducedMotion: "reduce", hasTouch: size.width === 390 });
  await context.addInitScript(() => {
    window.__violations = [];
    document.addEventListener("securitypolicyviolation", (e) => window.__violations.push(`${e.violatedDirective} ${e.blockedURI}`));
  });
  const tab = await context.newPage();
  let name = "";
  listen(tab, () => name);
  for (const shot of shots) {
    const file = `${shot.path.replace(/[^a-z0-9]+/gi, "-").replace(/^-/, "")}-${size.width}-${scheme}.png`;
    name = `${shot.route} [${shot.state}] ${size.width} ${scheme}`;
    await tab.goto(base + shot.path, { waitUntil: "load" });
    const found = await tab.evaluate(checks.measure);
    for (const v of found.violations) fault(name, `policy: ${v}`);
    if (found.overflow > 0) fault(name, `scrolls sideways by ${found.overflow} px: ${found.wide}`);
    for (const t of found.small) fault(name, `target under 44 px: ${t}`);
    if (!found.freeze) fault(name, "no Freeze button");
    else if (found.freeze.bottom > size.height || found.freeze.top < 0) fault(name, "Freeze is not visible without scrolling");
    else if (found.freeze.height < 56) fault(name, `Freeze is ${found.freeze.height} px high`);
    else if (shot.signed_in) {
      const at = `${found.freeze.left},${found.freeze.top} ${found.freeze.width}x${found.freeze.height}`;
      const place = `${size.width} ${found.dir}`; // right to left, the same place is the mirrored one
      freezeAt[place] ??= at;
      if (freezeAt[place] !== at) fault(name, `Freeze stands at ${at}, elsewhere at ${freezeAt[place]}`);
    }
    // The whole page at once, with the bars that stay at the edges where they belong.
    await tab.setViewportSize({ width: size.width, height: Math.max(size.height, found.height) });
    await tab.screenshot({ path: path.join(out, file) });
    await tab.setViewportSize(size);
    shot.files.push(file);
    await tab.evaluate(axeSource);
    const axe = await tab.evaluate(checks.axe);
    for (const a of axe) fault(name, `axe ${a}`);
    if (scheme === "light") await walk(tab, name);
  }
  await context.close();
}

// walk goes through the page with Tab alone: every control is reached, each shows its focus,
// and none is hidden under a bar.
async function walk(tab, name) {
  const wanted = await tab.evaluate(checks.mark);
  const reached = new Set();
  for (let i = 0; i < wanted.length + 12; i++) {
    await tab.keyboard.press("Tab");
    const at = await tab.evaluate(checks.focus);
    if (!at) continue; // between the end of the page and its beginning
    if (reached.has(at.mark)) break;
    reached.add(at.mark);
    if (!at.shown) fault(name, `focus is not visible on ${at.what}`);
    if (at.hidden) fault(name, `focused but covered: ${at.what}`);
  }
  for (const w of wanted) if (!reached.has(w.mark)) fault(name, `not reached by Tab: ${w.what}`);
}

async function plain(browser, base, shots) {
  const context = await browser.newContext({ viewport: sizes[0], javaScriptEnabled: false });
  const tab = await context.newPage();
  for (const shot of shots) {
    await tab.goto(base + shot.path, { waitUntil: "load" });
    const name = `${shot.route} [${shot.state}] without JavaScript`;
    if (await tab.locator("main h1").count() !== 1) fault(name, "no heading");
    for (const form of await tab.locator("form").all()) {
      const holder = await form.evaluate((f) => f.closest("[popover]")?.id ?? "");
      const button = form.locator("button[type=submit]").first();
      if (holder) {
        const opener = tab.locator(`[popovertarget="${holder}"]`).first();
        await opener.click();
        if (!(await button.isVisible())) fault(name, `the dialog ${holder} does not open`);
        await tab.keyboard.press("Escape");
      } else if (!(await button.isVisible())) fault(name, `a form without a visible button: ${await form.getAttribute("action")}`);
    }
    // 320 px is a desktop page enlarged to 400 % (WCAG 1.4.10).
    await tab.setViewportSize({ width: 320, height: 640 });
    const narrow = await tab.evaluate(checks.measure);
    if (narrow.overflow > 0) fault(name, `at 320 px it scrolls sideways by ${narrow.overflow} px: ${narrow.wide}`);
    await tab.setViewportSize(sizes[0]);
    const file = `${shot.path.replace(/[^a-z0-9]+/gi, "-").replace(/^-/, "")}-plain.png`;
    await tab.screenshot({ path: path.join(out, file), fullPage: true });
    shot.files.push(file);
  }
  await context.close();
}

// offline: the emergency page opens without a connection and never lets a press look sent.
async function offline(browser, base) {
  const context = await browser.newContext({ viewport: sizes[0] });
  const tab = await context.newPage();
  await tab.goto(base + "/emergency");
  await tab.evaluate(() => navigator.serviceWorker.ready);
  await tab.evaluate(() => new Promise((done) => {
    if (navigator.serviceWorker.controller) done();
    else navigator.serviceWorker.addEventListener("controllerchange", () => done());
  }));
  await context.setOffline(true);
  await tab.goto(base + "/emergency");
  if (!(await tab.getByText("You are offline", { exact: true }).isVisible())) fault("offline", "the emergency page does not say that it is offline");
  await tab.getByLabel("Mail address").first().fill("holder@holdfast.test");
  await tab.getByLabel("Freeze code").fill("7KQ2M-XW4RD-9TFHP-C3VNY");
  await tab.getByRole("button", { name: "Freeze my account" }).click();
  const note = tab.locator("[data-unsent]");
  await note.waitFor();
  if (!/Not sent yet/.test(await note.textContent())) fault("offline", "a press offline is not called unsent");
  await tab.screenshot({ path: path.join(out, "offline-press.png"), fullPage: true });
  await tab.goto(base + "/devices");
  if (!(await tab.getByRole("heading", { name: "Not sent: you are offline" }).isVisible())) fault("offline", "another page offline does not say so");
  await context.close();
}

function index(shots) {
  const esc = (s) => s.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const rows = shots.map((s) => `<h2>${esc(s.route)} <small>${esc(s.state)}</small></h2><div>${s.files.sort().map((f) => `<a href="${f}"><img loading="lazy" src="${f}" alt="${esc(f)}"></a>`).join("")}</div>`).join("\n");
  fs.writeFileSync(path.join(out, "index.html"), `<!doctype html><meta charset="utf-8"><title>Holdfast: pictures</title><style>body{font:15px sans-serif;margin:2rem}div{display:flex;gap:1rem;align-items:start;overflow-x:auto}img{height:420px;border:1px solid #bbb}small{color:#555}</style><h1>${shots.length} states</h1>${rows}\n`);
}

const server = await serve();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
try {
  const all = await (await fetch(server.base + "/shots.json")).json();
  const shots = all.filter((s) => `${s.route} ${s.state}`.includes(only)).map((s) => ({ ...s, files: [] }));
  console.log(`${shots.length} states, ${sizes.length} widths, ${schemes.length} colour schemes`);
  const freezeAt = {};
  for (const size of sizes) await Promise.all(schemes.map((scheme) => look(browser, server.base, shots, size, scheme, freezeAt)));
  await plain(browser, server.base, shots);
  await offline(browser, server.base);
  index(shots);
} finally {
  await browser.close();
  await server.stop();
}
console.log(faults.length === 0 ? `All is well. Pictures: ${path.relative(process.cwd(), path.join(out, "index.html"))}` : `${faults.length} faults. Pictures: ${out}/index.html`);
process.exit(faults.length === 0 ? 0 : 1);
