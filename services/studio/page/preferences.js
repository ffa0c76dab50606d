// Colours and the key.

import { el, field, openDialog } from "./dom.js";

const THEMES = ["system", "light", "dark"];
const THEME = "vogue-theme";

/** The button that goes through the themes. */
export function themeButton() {
  const made = document.getElementById("theme");
  const root = document.documentElement;
  const show = () => made.setAttribute("aria-label", `Colours: ${root.dataset.theme ?? "as the system"}`);
  made.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      if (next === "system") localStorage.removeItem(THEME);
      else localStorage.setItem(THEME, next);
    } catch {
      // Storage is closed to this page: the choice lasts as long as the page.
    }
    show();
  });
  show();
}

/** Ask for the key; it is kept for this tab alone. */
export function askForKey(api, onKey, why = "") {
  const open = document.querySelector("dialog.key");
  if (open) {
    open.querySelector(".fault").textContent = why;
    return;
  }
  const input = el("input", { type: "password", autocomplete: "off", spellcheck: "false", value: api.key });
  const use = el("button", { type: "submit", class: "primary" }, "Use this key");
  const form = el(
    "form",
    { class: "key-form" },
    el("p", { class: "fault", role: "alert" }, why),
    field("API key", input, { hint: "Only needed where the server asks for one. It stays in this tab and goes when you close it." }),
    el("div", { class: "plan-row end" }, use),
  );
  const dialog = openDialog("API key", form, { kind: "key" });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    api.key = input.value.trim();
    dialog.close();
    onKey();
  });
}
