// What the client tests know of the test bed they run against. Its description comes in the
// environment, so the same tests run against the stand-in and against the real product.
export const bed = JSON.parse(process.env.HOLDFAST_TESTBED ?? "null");

export async function control(call, body = {}) {
  const answer = await fetch(`${bed.control}/${call}`, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${call}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

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
