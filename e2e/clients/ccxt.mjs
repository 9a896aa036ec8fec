// A thief's bot written with unmodified ccxt: everything works with the stolen key before
// the freeze, and after it each call raises the error class that a bot written for Binance
// already handles.
import assert from "node:assert/strict";
import { test } from "node:test";
import ccxt from "ccxt";
import { bed, control, kinds } from "./testbed.mjs";

// Only addresses are configured. ccxt picks its table of error classes by the host name, so
// the name has to be api.<hostname>, as api.binance.com is.
function bot(key, type = ccxt.binance) {
  const exchange = new type({
    hostname: bed.hostname, apiKey: key.key, secret: key.secret,
    options: { fetchMarkets: { types: ["spot"] } },
  });
  const move = (value) => typeof value === "string" ? value.replace(/^https:\/\/(api|fapi|dapi)\.binance\.com/, bed.rest) : value;
  for (const [name, address] of Object.entries(exchange.urls.api)) exchange.urls.api[name] = move(address);
  return exchange;
}

const price = { sell: 70_000, buy: 60_000 };

const calls = (scene) => ({
  "place an order": (x) => x.createOrder("BTC/USDT", "limit", "sell", 0.01, price.sell),
  "place a market order": (x) => x.createOrder("BTC/USDT", "market", "buy", 0.001),
  "cancel an order": (x) => x.cancelOrder(scene.open ?? "1", "BTC/USDT"),
  "cancel all orders": (x) => x.cancelAllOrders("BTC/USDT"),
  "read open orders": (x) => x.fetchOpenOrders("BTC/USDT"),
  "read own trades": (x) => x.fetchMyTrades("BTC/USDT"),
  "read the account": (x) => x.fetchBalance(),
  "withdraw": (x) => x.withdraw("BTC", 0.05, scene.outside, undefined, { network: "BTC" }),
  "transfer": (x) => x.withdraw("BTC", 0.05, scene.transfer, undefined, { network: "BTC" }),
  "read withdrawals": (x) => x.fetchWithdrawals("BTC"),
  "read deposits": (x) => x.fetchDeposits("BTC"),
  "read a deposit address": (x) => x.fetchDepositAddress("BTC"),
  "read the account's status": (x) => x.sapiGetAccountStatus(),
  "read the trading status": (x) => x.sapiGetAccountApiTradingStatus(),
  "read the key's rights": (x) => x.sapiGetAccountApiRestrictions(),
  "read the address list": (x) => x.sapiGetCapitalWithdrawAddressList(),
  "switch fast withdrawals off": (x) => x.sapiPostAccountDisableFastWithdrawSwitch(),
});

for (const kind of kinds) {
  test(`ccxt ${ccxt.version} with ${kind}`, async (t) => {
    const scene = await control("scene");
    const x = bot(scene.keys[kind]);

    await t.test("before the freeze", async (t) => {
      await t.test("markets", async () => {
        const markets = await x.loadMarkets();
        assert.deepEqual(Object.keys(markets).sort(), ["BTC/USDT", "ETH/BTC", "ETH/USDT"]);
        assert.equal((await x.fetchStatus()).status, "ok");
        assert.ok(Math.abs(await x.fetchTime() - Date.now()) < 5_000);
        assert.equal((await x.fetchOrderBook("BTC/USDT")).asks.length > 0, true);
      });
      await t.test("a trade", async () => {
        const order = await x.createOrder("BTC/USDT", "limit", "buy", 0.01, price.buy);
        assert.equal(order.status, "closed");
        assert.equal(order.filled, 0.01);
        assert.equal((await x.fetchMyTrades("BTC/USDT")).length, 1);
        assert.equal((await x.fetchBalance()).BTC.total, 1.20999);
      });
      await t.test("cancels", async () => {
        const { id } = await x.createOrder("BTC/USDT", "limit", "sell", 0.01, price.sell);
        assert.equal((await x.fetchOrder(id, "BTC/USDT")).status, "open");
        assert.equal((await x.cancelOrder(id, "BTC/USDT")).status, "canceled");
        await x.createOrder("BTC/USDT", "limit", "sell", 0.01, price.sell);
        await x.cancelAllOrders("BTC/USDT");
        assert.equal((await x.fetchOpenOrders("BTC/USDT")).length, 0);
      });
      await t.test("a withdrawal and a transfer", async () => {
        const out = await calls(scene).withdraw(x);
        const inside = await calls(scene).transfer(x);
        const all = await x.fetchWithdrawals("BTC");
        assert.equal(all.find((w) => w.id === out.id).status, "pending");
        assert.equal(all.find((w) => w.id === inside.id).internal, true);
      });
      await t.test("the rest", async () => {
        for (const name of ["read deposits", "read a deposit address", "read the account's status", "read the trading status",
          "read the key's rights", "read the address list"]) await calls(scene)[name](x);
      });
      await t.test("an order left open", async () => {
        scene.open = (await x.createOrder("BTC/USDT", "limit", "sell", 0.01, price.sell)).id;
      });
    });

    await t.test("ccxt.pro hears of the balance", async () => {
      const pro = bot(scene.keys[kind], ccxt.pro.binance);
      pro.urls.api.ws["ws-api"].spot = bed.stream;
      await pro.loadMarkets();
      const heard = pro.watchBalance();
      heard.catch(() => {});
      // An order moves money from free to used, which is what watchBalance tells.
      const deadline = Date.now() + 15_000;
      let balance;
      while (!balance && Date.now() < deadline) {
        const order = await x.createOrder("BTC/USDT", "limit", "sell", 0.01, price.sell);
        balance = await Promise.race([heard, new Promise((resolve) => setTimeout(resolve, 250))]);
        await x.cancelOrder(order.id, "BTC/USDT");
      }
      assert.equal(typeof balance?.BTC.used, "number");
      await pro.close();
    });

    await t.test("after the freeze", async (t) => {
      await control("freeze", { account: scene.account });
      for (const [name, call] of Object.entries(calls(scene))) {
        await t.test(name, () => assert.rejects(() => call(x), (error) => {
          assert.equal(error.constructor.name, "AccountSuspended", String(error));
          return true;
        }));
      }
      await t.test("someone else cannot fill what rested", async () => {
        assert.equal(Number((await control("take", { symbol: "BTCUSDT", side: "BUY", price: String(price.sell) })).executedQty), 0);
      });
      await t.test("the receipts", async () => {
        const { contained, receipts } = await control("protection", { account: scene.account });
        assert.equal(contained, true);
        assert.equal(receipts.open_order.stopped, 1);
        assert.equal(receipts.pending_withdrawal.stopped, 1);
      });
    });
  });

  test(`ccxt with ${kind}: credentials and holds`, async (t) => {
    const scene = await control("scene");
    const x = bot(scene.keys[kind]);
    await x.fetchBalance();
    await t.test("held", async () => {
      await control("hold", { account: scene.account, exit: "withdrawal_request", reason: "restore" });
      await assert.rejects(calls(scene).withdraw(x), ccxt.PermissionDenied);
      await control("hold", { account: scene.account, exit: "internal_transfer", reason: "password_changed" });
      await assert.rejects(calls(scene).transfer(x), ccxt.PermissionDenied);
    });
    await t.test("wrong secret", async () => {
      const other = (await control("scene")).keys[kind];
      await assert.rejects(bot({ key: scene.keys[kind].key, secret: other.secret }).fetchBalance(), ccxt.AuthenticationError);
    });
    await t.test("unknown key", async () => {
      await assert.rejects(bot({ key: "a".repeat(64), secret: scene.keys[kind].secret }).fetchBalance(), ccxt.AuthenticationError);
    });
    await t.test("a client whose clock is wrong", async () => {
      const late = bot(scene.keys[kind]);
      late.options.timeDifference = 60_000;
      late.options.adjustForTimeDifference = false;
      await assert.rejects(late.fetchBalance(), ccxt.InvalidNonce);
    });
    await t.test("deleted key, after it was used", async () => {
      await control("delete-key", { key: scene.keys[kind].key });
      for (const name of ["read the account", "place an order", "withdraw"]) {
        await assert.rejects(calls(scene)[name](x), ccxt.AuthenticationError);
      }
    });
  });
}
