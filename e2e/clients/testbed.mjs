// What the client tests know of the test bed they run against: its description comes in the
// environment.
import { control as call } from "../bed.mjs";

export const bed = JSON.parse(process.env.HOLDFAST_TESTBED ?? "null");
export const control = (name, body) => call(bed, name, body);

export const kinds = ["hmac", "ed25519"];

// until polls for something that another process does.
export async function until(what, done, within = 15_000) {
  const deadline = Date.now() + within;
  for (;;) {
    const value = await done();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`still waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
