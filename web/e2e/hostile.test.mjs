// Events whose every field is hostile: on every page they are shown as text, and do nothing.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { call, launch, open, post, start, until } from "./support.mjs";

const MARKUP = `"><img src=x onerror=window.pwned=1><script>window.pwned=1</script><svg/onload=window.pwned=1>`;
const OTHERS = [
  "\u202Egnp.exe \u2066reversed\u2069",
  "\u001b[31mred\u001b[0m \u0007bell",
  "=cmd|' /C calc'!A0",
  "javascript:window.pwned=1",
  "{{constructor.constructor('window.pwned=1')()}}",
  "\u{1F525}".repeat(50),
  "x".repeat(10_000),
  "nul \u0000 inside",
];

let world, browser, id;
before(async () => {
  [world, browser] = await Promise.all([start("embedded"), launch()]);
  const rule = { match_string: "hostile", prod_handling: "Page_only", dev_handling: "Log_only", team_assignment: MARKUP.slice(0, 60), priority: 1 };
  await call(world, "POST", "/rules", { ...rule, reason: MARKUP.slice(0, 200) });
  await call(world, "POST", "/rules", { ...rule, match_string: MARKUP, priority: 2 });
  await post(world, [
    { hostname: "evil-1", message: `hostile ${MARKUP}`, program: MARKUP.slice(0, 40), syslog_severity: 2 },
    ...OTHERS.map((text) => ({ hostname: "evil-1", message: `hostile ${text}` })),
    ...OTHERS.flatMap((text) => Array.from({ length: 3 }, () => ({ hostname: "evil-2", message: `odd ${text} ${MARKUP}` }))),
  ]);
  const rows = () => call(world, "GET", "/audit-logs?hostname=evil-1&limit=50");
  await until("the hostile events on record", async () => (await rows()).logs.length > OTHERS.length);
  id = (await rows()).logs.at(-1).event_id;
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

test("hostile text stays text on every page", async () => {
  const { context, page, faults } = await open(browser, world);
  const paths = ["/", "/tail?hostname=evil-3", "/events?hostname=evil-1", `/events/${id}`, "/rules", "/rules/new", "/unhandled", "/hosts", "/delivery", "/dlq", "/config-audit", "/config", "/status", "/keys"];
  for (const path of paths) {
    await page.goto(path);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await until(`${path} to have loaded`, async () => (await page.locator(".loading").count()) === 0);
    if (path.startsWith("/tail")) {
      await until("a hostile event in the tail", async () => {
        await post(world, [{ hostname: "evil-3", message: `live ${MARKUP}` }]);
        return (await page.getByText("live \">").count()) > 0;
      });
    }
    assert.equal(await page.evaluate(() => window.pwned), undefined, path);
    assert.equal(await page.locator("img[src=x], svg[onload], script:not([src])").count(), 0, path);
  }
  assert.deepEqual(faults, []);
  await context.close();
});

test("hostile addresses do nothing", async () => {
  const { context, page, faults } = await open(browser, world);
  for (const path of [
    `/events?text=${encodeURIComponent(MARKUP)}`,
    `/events/${encodeURIComponent(MARKUP.replaceAll("/", ""))}`,
    `/rules/${encodeURIComponent("<b>12")}`,
    `/rules/new?match=${encodeURIComponent(MARKUP)}`,
    `/dlq?queue=${encodeURIComponent(MARKUP)}`,
    `/config-audit?changed_by=${encodeURIComponent(MARKUP)}`,
    `/tail?text=${encodeURIComponent("x".repeat(4000))}`,
  ]) {
    await page.goto(path);
    await page.getByRole("heading", { level: 1 }).waitFor();
    assert.equal(await page.evaluate(() => window.pwned), undefined, path);
  }
  // What plays tricks with slashes is no page at all, and its answer no document.
  for (const path of [`/events/${encodeURIComponent(MARKUP)}`, `/rules/${encodeURIComponent("../../../etc/passwd")}`]) {
    const answer = await page.goto(path);
    assert.equal(answer.status(), 404, path);
    assert.match(answer.headers()["content-type"], /^application\/json/);
    assert.equal(await page.evaluate(() => window.pwned), undefined, path);
  }
  assert.deepEqual(faults, []);
  await context.close();
});

test("another site can neither read nor change anything with this browser’s session", async () => {
  const { context, page } = await open(browser, world);
  await page.goto("/");
  const cookies = await context.cookies();
  const session = cookies.find((cookie) => cookie.name.includes("session"));
  assert.equal(session.httpOnly, true);
  assert.equal(session.sameSite, "Strict");
  assert.equal(await page.evaluate(() => document.cookie), "");
  // The cookie alone changes nothing: the token is missing, or the request comes from elsewhere.
  const bare = await context.request.post("/api/v2/dev-hosts", { data: { hostname: "forged" } });
  assert.equal(bare.status(), 403);
  const token = (await (await context.request.get("/api/v2/session")).json()).csrf_token;
  const foreign = await context.request.post("/api/v2/dev-hosts", {
    data: { hostname: "forged" },
    headers: { "X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site", Origin: "https://evil.example" },
  });
  assert.equal(foreign.status(), 403);
  const framed = await context.request.get("/");
  assert.match(framed.headers()["content-security-policy"], /frame-ancestors 'none'/);
  await context.close();
});
