// The freeze link of a mail that really arrived over SMTP, pressed in Chromium at phone size by
// somebody who is not signed in anywhere.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { openBed } from "./bed.mjs";

let bed, browser;
before(async () => {
  bed = await openBed();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
});
after(async () => {
  await browser?.close();
  await bed?.close();
});

// frozen reads from the page whether the press is still to come.
async function unpressed(link) {
  const answer = await fetch(link);
  assert.equal(answer.status, 200);
  return /<button[^>]*>[^]*?Freeze/i.test(await answer.text());
}

test("the link of a mail freezes at the press, and only then", async (t) => {
  const scene = await bed.control("scene");
  // A thief signs in and changes the password: the mails about it carry the links.
  await bed.control("password", { account: scene.account, password: "Mine-Now-99-And-Always" });
  const mail = await bed.control("mail", { mail: scene.mail, subject: "password was changed" });
  const earlier = await bed.control("mail", { mail: scene.mail, subject: "New sign-in" });
  assert.match(mail.freeze, /^http:\/\/127\.0\.0\.1:\d+\/freeze\/\S+$/);

  await t.test("a scanner that fetches, asks for the head, or prefetches changes nothing", async () => {
    for (const link of [mail.freeze, earlier.freeze]) {
      assert.equal((await fetch(link, { method: "HEAD" })).status, 200);
      assert.equal((await fetch(link, { headers: { "Sec-Purpose": "prefetch", Purpose: "prefetch" } })).status, 200);
      assert.ok(await unpressed(link), "opening the link froze the account");
    }
  });

  await t.test("a page elsewhere cannot press for the holder", async () => {
    const answer = await fetch(mail.freeze, { method: "POST", headers: {
      "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site", Origin: "https://elsewhere.test" }, body: "" });
    assert.equal(answer.status, 403);
    assert.ok(await unpressed(mail.freeze));
  });

  await t.test("the press at phone size shows every exit with its receipt", async () => {
    const page = await browser.newPage({ viewport: { width: 390, height: 844 } });
    const faults = [];
    page.on("console", (m) => { if (m.type() === "error") faults.push(m.text()); });
    page.on("pageerror", (e) => faults.push(String(e)));
    // The link of the mail before the thief changed the password still works.
    await page.goto(earlier.freeze);
    await page.getByRole("button", { name: /freeze/i }).first().click();
    await page.getByRole("heading", { name: /Frozen at/ }).waitFor();
    const { receipts } = await bed.control("protection", { account: scene.account });
    assert.ok(Object.keys(receipts).length >= 4);
    await page.getByText("All 11 exits are closed").first().waitFor();
    const shown = await page.locator("main").innerText();
    for (const exit of ["Pending withdrawals", "New withdrawals", "Transfers to other users", "API keys", "Signed-in sessions", "Sign-in",
      "Remembered devices", "Security settings", "Changes by support", "New orders", "Open orders"]) {
      assert.ok(shown.includes(exit), `${exit} is not shown:\n${shown}`);
    }
    assert.ok(!/not confirmed yet/i.test(shown), shown);
    assert.deepEqual(faults, []);
    await page.close();
  });

  await t.test("a second press, without JavaScript, says that the account is frozen already", async () => {
    const page = await browser.newPage({ viewport: { width: 390, height: 844 }, javaScriptEnabled: false });
    await page.goto(mail.freeze);
    await page.getByRole("button", { name: /freeze/i }).first().click();
    assert.match(await page.locator("body").innerText(), /already frozen/i);
    await page.close();
  });
});
