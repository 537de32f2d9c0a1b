// What the shop says of its visitors.
const PAGES = { "/": "Trang chủ", "/san-pham": "Sản phẩm", "/gio-hang": "Giỏ hàng", "/dang-nhap": "Đăng nhập" };
const on = (id, event, act) => document.getElementById(id)?.addEventListener(event, act);
const say = (text) => { document.getElementById("said").textContent = text; };

// The first page speaks before analytics.js has come; the others wait for it, and are ready when it has taken what they say.
const arrived = () => analytics.page("Cửa hàng", PAGES[location.pathname]);
if (location.pathname === "/") arrived();
analytics.ready(async () => {
  if (location.pathname !== "/") await arrived();
  if (location.pathname === "/san-pham")
    await analytics.track("Product Viewed", { sku: "AD-01", tên: "Áo dài lụa Hà Đông", price: 1850000, coupon: null });
  document.documentElement.dataset.ready = "yes";
});

// A link is followed once analytics.js has taken the click: by itself it would lose some of those of a page that goes away at once.
for (const link of document.querySelectorAll("[data-sku]"))
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    await analytics.track("Product Clicked", { sku: link.dataset.sku });
    location.href = link.href;
  });

on("add", "click", async () => { await analytics.track("Product Added", { sku: "AD-01", quantity: 1 }); say("Đã thêm vào giỏ"); });
on("coupon", "click", () => { analytics.track("Coupon Entered", { coupon: "TẾT2025" }); say("Đã áp mã"); });
on("gift", "click", () => { analytics.track("Gift Wrapped", { gói: "Giấy dó" }); say("Đã gói quà"); });
on("order", "click", async () => { await analytics.track("Order Completed", { order_id: "DH-1", total: 1970000, currency: "VND" }); say("Đã đặt hàng"); });
on("login", "submit", async (event) => {
  event.preventDefault();
  const traits = Object.fromEntries(new FormData(event.target));
  await analytics.identify(config.user, { ...traits, address: { city: "Cần Thơ" } });
  await analytics.group(config.user + "-cty", { name: "Công ty Hoa Sen" });
  await analytics.alias(config.user, config.user);
  await analytics.screen("Tài khoản", { điểm: 12 });
  say("Xin chào " + traits.name);
});
on("logout", "click", () => { analytics.reset(); analytics.track("Logged Out", {}); say("Đã đăng xuất"); });
