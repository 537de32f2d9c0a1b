// A customer in headless Chromium: node browser.mjs, told by a line of JSON {shop, chromium, picture, clock_ms, stays, leaves}.
// Says its anonymous ids when everything has been done, and goes when it hears another line.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { chromium } = createRequire(`${process.env.ONEFOLD_CLIENTS_DIR}/`)("playwright-core");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const told = JSON.parse((await lines.next()).value);

const browser = await chromium.launch({ executablePath: told.chromium, args: ["--no-proxy-server", "--disable-gpu"] });
const context = await browser.newContext({ locale: "vi-VN", timezoneId: "Asia/Ho_Chi_Minh", viewport: { width: 900, height: 600 } });
const page = await context.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(String(error)));
const said = (text) => page.getByText(text, { exact: true }).waitFor();
// What is said before analytics.js has come from the collector waits in the page, and would go away with it.
const ready = () => page.waitForSelector("html[data-ready]");
// analytics.js writes its ids into cookies as they are; RudderStack's SDK encrypts them, and tells them when it is asked.
const anonymous = told.rudder
  ? () => page.evaluate(() => analytics.anonymousId())
  : async () => (await context.cookies()).find(({ name }) => name === "ajs_anonymous_id")?.value;
const user = told.rudder
  ? () => page.evaluate(() => analytics.userId())
  : async () => (await context.cookies()).find(({ name }) => name === "ajs_user_id")?.value;
const cookie = async () => {
  await ready();
  return anonymous();
};
const until = async (holds) => {
  while (!(await holds())) await page.waitForTimeout(20);
};

if (told.clock_ms) {
  await context.addInitScript((ahead) => {
    const Real = Date;
    window.Date = class extends Real {
      constructor(...given) { given.length ? super(...given) : super(Real.now() + ahead); }
      static now() { return Real.now() + ahead; }
    };
  }, told.clock_ms);
}
const taken = told.stays
  ? page.waitForResponse((answer) => answer.request().method() === "POST" && answer.status() === 200)
  : undefined;
await page.goto(told.shop);
await taken;
const first = await cookie();
if (told.picture) await page.screenshot({ path: told.picture });
await page.click("[data-sku=AD-01]");
await page.waitForURL("**/san-pham");
await ready();
await page.click("#add");
await said("Đã thêm vào giỏ");
await page.click("nav >> text=Giỏ hàng");
await page.waitForURL("**/gio-hang");
await ready();
await context.setOffline(!told.leaves);
await page.click("#coupon");
await page.click("#gift");
await said("Đã gói quà");
// What waited is stamped with the customer of the moment when it is sent: it must be sent before anybody logs in.
const waited = told.leaves ? [] : ["Coupon Entered", "Gift Wrapped"];
const sent = waited.map((name) => page.waitForResponse(
  (answer) => answer.status() === 200 && (answer.request().postData() ?? "").includes(name)));
await context.setOffline(false);
await Promise.all(sent);
await page.click("nav >> text=Đăng nhập");
await page.waitForURL("**/dang-nhap");
await ready();
await page.fill("[name=name]", "Nguyễn Thị Ánh Tuyết");
await page.fill("[name=email]", "Tuyet.Nguyen@Thu.VN");
await page.fill("[name=phone]", "0912 345 678");
await page.click("form button");
await said("Xin chào Nguyễn Thị Ánh Tuyết");
await until(user);
const same = await cookie();
await page.click("nav >> text=Giỏ hàng");
await page.waitForURL("**/gio-hang");
await ready();
await page.click("#order");
await said("Đã đặt hàng");
await page.click("nav >> text=Đăng nhập");
await page.waitForURL("**/dang-nhap");
await ready();
await page.click("#logout");
await said("Đã đăng xuất");
await until(async () => ![undefined, first].includes(await anonymous()));
const second = await cookie();
if (told.leaves) await page.goto("about:blank");
process.stdout.write(JSON.stringify({ first, same, second, errors }) + "\n");
await lines.next();
await browser.close();
process.exit(0);
