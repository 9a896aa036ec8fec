// A thief's bot written with the exchange's own unmodified clients, @binance/spot and
// @binance/wallet. They raise one class for each HTTP status; the code tells the rest.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Spot } from "@binance/spot";
import { Wallet } from "@binance/wallet";
import { bed, control, kinds, until } from "./testbed.mjs";

const limit = (side, price, quantity = 0.01) =>
  ({ symbol: "BTCUSDT", side, type: "LIMIT", timeInForce: "GTC", quantity, price });

function bot(key, kind) {
  const access = kind === "hmac" ? { apiKey: key.key, apiSecret: key.secret } : { apiKey: key.key, privateKey: key.secret };
  const rest = { ...access, basePath: bed.rest, retries: 0 };
  return {
    spot: new Spot({ configurationRestAPI: rest, configurationWebsocketAPI: { ...access, wsURL: bed.stream, reconnectDelay: 50 } }),
    wallet: new Wallet({ configurationRestAPI: rest }),
  };
}

const data = async (call) => (await call).data();

// Each call with the code that a frozen account gets.
const calls = (scene) => ({
  "place an order": [-2010, ({ spot }) => spot.restAPI.newOrder(limit("SELL", 70_000))],
  "place a market order": [-2010, ({ spot }) => spot.restAPI.newOrder({ symbol: "BTCUSDT", side: "BUY", type: "MARKET", quantity: 0.001 })],
  "cancel an order": [-2011, ({ spot }) => spot.restAPI.deleteOrder({ symbol: "BTCUSDT", orderId: scene.open ?? 1 })],
  "cancel all orders": [-2011, ({ spot }) => spot.restAPI.deleteOpenOrders({ symbol: "BTCUSDT" })],
  "read an order": [-2010, ({ spot }) => spot.restAPI.getOrder({ symbol: "BTCUSDT", orderId: scene.open ?? 1 })],
  "read open orders": [-2010, ({ spot }) => spot.restAPI.getOpenOrders({ symbol: "BTCUSDT" })],
  "read own trades": [-2010, ({ spot }) => spot.restAPI.myTrades({ symbol: "BTCUSDT" })],
  "read the account": [-2010, ({ spot }) => spot.restAPI.getAccount()],
  "withdraw": [-3022, ({ wallet }) => wallet.restAPI.withdraw({ coin: "BTC", address: scene.outside, amount: 0.05, name: "my own wallet" })],
  "transfer": [-3022, ({ wallet }) => wallet.restAPI.withdraw({ coin: "BTC", address: scene.transfer, amount: 0.05 })],
  "read withdrawals": [-3022, ({ wallet }) => wallet.restAPI.withdrawHistory({ coin: "BTC" })],
  "read deposits": [-3022, ({ wallet }) => wallet.restAPI.depositHistory()],
  "read a deposit address": [-3022, ({ wallet }) => wallet.restAPI.depositAddress({ coin: "BTC" })],
  "read the coins": [-3022, ({ wallet }) => wallet.restAPI.allCoinsInformation()],
  "read the account's status": [-3022, ({ wallet }) => wallet.restAPI.accountStatus()],
  "read the trading status": [-3022, ({ wallet }) => wallet.restAPI.accountApiTradingStatus()],
  "read the key's rights": [-3022, ({ wallet }) => wallet.restAPI.getApiKeyPermission()],
  "read the address list": [-3022, ({ wallet }) => wallet.restAPI.fetchWithdrawAddressList()],
  "switch fast withdrawals off": [-3022, ({ wallet }) => wallet.restAPI.disableFastWithdrawSwitch()],
});

const refused = (name, code) => (error) => {
  assert.equal(error.constructor.name, name, String(error));
  assert.equal(error.code, code, String(error));
  return true;
};

for (const kind of kinds) {
  test(`@binance/spot and @binance/wallet with ${kind}`, async (t) => {
    const scene = await control("scene");
    const b = bot(scene.keys[kind], kind);
    const run = (name) => data(calls(scene)[name][1](b));

    await t.test("before the freeze", async (t) => {
      await t.test("public calls", async () => {
        assert.equal((await data(b.spot.restAPI.exchangeInfo())).symbols.length, 3);
        assert.ok((await data(b.spot.restAPI.time())).serverTime > 0);
        assert.ok((await data(b.spot.restAPI.depth({ symbol: "BTCUSDT" }))).asks.length > 0);
        assert.equal((await data(b.spot.restAPI.tickerPrice({ symbol: "BTCUSDT" }))).symbol, "BTCUSDT");
        assert.equal((await data(b.wallet.restAPI.systemStatus())).status, 0);
      });
      await t.test("a trade", async () => {
        const order = await data(b.spot.restAPI.newOrder(limit("BUY", 60_000)));
        assert.equal(order.status, "FILLED");
        assert.equal((await run("read own trades")).length, 1);
        const btc = (await run("read the account")).balances.find((h) => h.asset === "BTC");
        assert.equal(btc.free, "1.20999000");
      });
      await t.test("cancels", async () => {
        const { orderId } = await run("place an order");
        assert.equal((await data(b.spot.restAPI.deleteOrder({ symbol: "BTCUSDT", orderId }))).status, "CANCELED");
        await run("place an order");
        assert.equal((await run("cancel all orders")).length, 1);
      });
      await t.test("a withdrawal and a transfer", async () => {
        const out = await run("withdraw");
        const inside = await run("transfer");
        const all = await run("read withdrawals");
        assert.equal(all.find((w) => w.id === out.id).transferType, 0);
        assert.equal(all.find((w) => w.id === inside.id).transferType, 1);
      });
      await t.test("the rest", async () => {
        scene.open = (await run("place an order")).orderId;
        for (const name of ["read an order", "read open orders", "read deposits", "read a deposit address", "read the coins",
          "read the account's status", "read the trading status", "read the key's rights", "read the address list"]) await run(name);
      });
    });

    await t.test("the user data stream ends with the freeze", async (t) => {
      const connection = await b.spot.websocketAPI.connect();
      const events = [];
      let closed = false;
      connection.on("close", () => { closed = true; });
      const { stream } = await connection.userDataStreamSubscribeSignature();
      stream.on("message", (event) => events.push(event));
      const told = (name) => until(name, () => events.find((e) => (e.e ?? e.event?.e) === name));

      await t.test("orders and balances arrive", async () => {
        const { orderId } = await run("place an order");
        await told("executionReport");
        await told("outboundAccountPosition");
        await data(b.spot.restAPI.deleteOrder({ symbol: "BTCUSDT", orderId }));
      });
      await control("freeze", { account: scene.account });
      await t.test("eventStreamTerminated, and closed", async () => {
        await told("eventStreamTerminated");
        await until("the connection is closed", () => closed);
      });
      // The client reconnects by itself, and gets nothing more for it.
      await until("the client has reconnected", () => connection.isConnected());
      await assert.rejects(connection.userDataStreamSubscribeSignature(), (error) => {
        assert.equal(error.code, -2010);
        return true;
      });
      await connection.disconnect();
    });

    await t.test("after the freeze", async (t) => {
      for (const [name, [code, call]] of Object.entries(calls(scene))) {
        await t.test(name, () => assert.rejects(() => call(b), refused("BadRequestError", code)));
      }
      await t.test("someone else cannot fill what rested", async () => {
        assert.equal(Number((await control("take", { symbol: "BTCUSDT", side: "BUY", price: "70000" })).executedQty), 0);
      });
      await t.test("the receipts", async () => {
        const { contained, receipts } = await control("protection", { account: scene.account });
        assert.equal(contained, true);
        assert.equal(receipts.open_order.stopped, 1);
        assert.equal(receipts.pending_withdrawal.stopped, 1);
        assert.equal(receipts.order.stopped, 1);
      });
    });
  });

  test(`@binance/* with ${kind}: credentials and holds`, async (t) => {
    const scene = await control("scene");
    const b = bot(scene.keys[kind], kind);
    await t.test("held", async () => {
      await control("hold", { account: scene.account, exit: "withdrawal_request", reason: "restore" });
      await assert.rejects(calls(scene).withdraw[1](b), refused("BadRequestError", -4015));
      await control("hold", { account: scene.account, exit: "internal_transfer", reason: "password_changed" });
      await assert.rejects(calls(scene).transfer[1](b), refused("BadRequestError", -4016));
    });
    await t.test("wrong secret, unknown key", async () => {
      const other = (await control("scene")).keys[kind];
      for (const key of [{ key: scene.keys[kind].key, secret: other.secret }, { key: "a".repeat(64), secret: other.secret }]) {
        await assert.rejects(calls(scene)["read the account"][1](bot(key, kind)), refused("UnauthorizedError", -1022));
      }
    });
    await t.test("deleted key, after it was used", async () => {
      await data(calls(scene)["read the account"][1](b));
      await control("delete-key", { key: scene.keys[kind].key });
      for (const name of ["read the account", "place an order", "withdraw"]) {
        await assert.rejects(calls(scene)[name][1](b), refused("UnauthorizedError", -1022));
      }
    });
  });
}
