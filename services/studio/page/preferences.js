// Colours, the key, and the list of conversations.

import { button, complain, el, field, fill, guarded, openDialog } from "./dom.js";

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

/** The conversations there are, to go on with one. */
export async function chooseSession(store, open) {
  const list = el("ul", { class: "session-list" });
  const body = el("div", {}, button({ sign: "attach", words: "New conversation", kind: "primary", act: () => (dialog.close(), open(null)) }), list);
  const dialog = openDialog("Conversations", body);
  let last = null;
  const more = button({ words: "Show earlier ones", kind: "quiet small", act: guarded(() => load()) });
  const load = async () => {
    const { data } = await store.api.json(`sessions?limit=30${last ? `&before=${last}` : ""}`);
    list.append(...data.map(row));
    last = data.at(-1)?.id ?? last;
    if (data.length === 30) body.append(more);
    else more.remove();
    if (!list.children.length) fill(list, el("li", { class: "hint" }, "There are none yet."));
  };
  const row = (session) => {
    const when = new Date(session.created_at_s * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const current = session.id === store.session?.id;
    const words = [el("span", { class: "ellipsis", dir: "auto" }, session.title || "Without a title"), el("span", { class: "hint" }, `${session.num_turns} ${session.num_turns === 1 ? "turn" : "turns"} · ${when}`)];
    return el("li", {}, el("button", { type: "button", class: "session-row", "aria-current": current ? "true" : undefined, on: { click: () => (dialog.close(), open(session.id)) } }, words));
  };
  await load().catch(complain);
}
