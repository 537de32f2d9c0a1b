// What the shop says of its visitors.
const PAGES = { "/": "Trang chủ", "/san-pham": "Sản phẩm", "/gio-hang": "Giỏ hàng", "/dang-nhap": "Đăng nhập" };
const on = (id, event, act) => document.getElementById(id)?.addEventListener(event, act);
const say = (text) => { document.getElementById("said").textContent = text; };

analytics.ready(() => { document.documentElement.dataset.ready = "yes"; });
analytics.page("Cửa hàng", PAGES[location.pathname]);
if (location.pathname === "/san-pham") analytics.track("Product Viewed", { sku: "AD-01", tên: "Áo dài lụa Hà Đông", price: 1850000, coupon: null });

// The page goes away at once: what is said here must still arrive.
for (const link of document.querySelectorAll("[data-sku]"))
  link.addEventListener("click", () => analytics.track("Product Clicked", { sku: link.dataset.sku }));

on("add", "click", () => { analytics.track("Product Added", { sku: "AD-01", quantity: 1 }); say("Đã thêm vào giỏ"); });
on("coupon", "click", () => { analytics.track("Coupon Entered", { coupon: "TẾT2025" }); say("Đã áp mã"); });
on("gift", "click", () => { analytics.track("Gift Wrapped", { gói: "Giấy dó" }); say("Đã gói quà"); });
on("order", "click", () => { analytics.track("Order Completed", { order_id: "DH-1", total: 1970000, currency: "VND" }); say("Đã đặt hàng"); });
on("login", "submit", (event) => {
  event.preventDefault();
  const traits = Object.fromEntries(new FormData(event.target));
  analytics.identify(config.user, { ...traits, address: { city: "Cần Thơ" } });
  analytics.group(config.user + "-cty", { name: "Công ty Hoa Sen" });
  analytics.alias(config.user, config.user);
  analytics.screen("Tài khoản", { điểm: 12 });
  say("Xin chào " + traits.name);
});
on("logout", "click", () => { analytics.reset(); analytics.track("Logged Out", {}); say("Đã đăng xuất"); });
