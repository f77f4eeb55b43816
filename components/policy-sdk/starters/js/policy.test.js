import assert from "node:assert/strict";
import { test } from "node:test";

import { configure, decide } from "./policy.js";

const to = (...addresses) => ({
  envelope: { recipients: addresses.map((address) => ({ address, domain: address.split("@").pop(), parameters: [] })) },
});

test("too many recipients are held", () => {
  configure.configure([{ name: "max-recipients", value: "1" }]);
  assert.deepEqual(decide.decide(to("ada@reader.test")).verdict, { tag: "accept" });
  assert.equal(decide.decide(to("ada@reader.test", "bob@reader.test")).verdict.tag, "hold");
});

test("unknown settings are refused", () => {
  assert.throws(() => configure.configure([{ name: "max", value: "1" }]));
});
