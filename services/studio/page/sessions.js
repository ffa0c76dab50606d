// The list of conversations: go on with one, begin one, or delete one.

import { announce, button, complain, el, fill, guarded, openDialog } from "./dom.js";

const PAGE = 30;

/** The conversations there are. `open` goes on with one, or begins anew with `null`. */
export async function chooseSession(store, open) {
  const list = el("ul", { class: "session-list" });
  const body = el("div", {}, button({ sign: "attach", words: "New conversation", kind: "primary", act: () => (dialog.close(), open(null)) }), list);
  const dialog = openDialog("Conversations", body);
  let last = null;
  const more = button({ words: "Show earlier ones", kind: "quiet small", act: guarded(() => load()) });

  const tellEmpty = () => !list.children.length && fill(list, el("li", { class: "hint" }, "There are none yet."));
  const load = async () => {
    const { data } = await store.api.json(`sessions?limit=${PAGE}${last ? `&before=${last}` : ""}`);
    list.append(...data.map(row));
    last = data.at(-1)?.id ?? last;
    if (data.length === PAGE) body.append(more);
    else more.remove();
    tellEmpty();
  };

  const row = (session) => {
    const when = new Date(session.created_at_s * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const current = session.id === store.session?.id;
    const words = [el("span", { class: "ellipsis", dir: "auto" }, nameOf(session)), el("span", { class: "hint" }, `${turnsOf(session)} · ${when}`)];
    const go = el("button", { type: "button", class: "session-row", "aria-current": current ? "true" : undefined, on: { click: () => (dialog.close(), open(session.id)) } }, words);
    const bin = button({ sign: "bin", label: `Delete “${nameOf(session)}”…`, kind: "quiet round", act: () => item.replaceChildren(question()) });
    const item = el("li", { class: "session-item" }, go, bin);

    // In the row's own place, so that it is clear which one is meant, and nothing is lost by a slip.
    const question = () => {
      const keep = () => (item.replaceChildren(go, bin), bin.focus());
      const said = el("p", {}, `Delete “${nameOf(session)}”? All of it is lost (${turnsOf(session)}): what was said, their tree, and names such as turn1. Files that were made stay until they are deleted by themselves.`);
      const stay = button({ words: "Keep it", act: keep });
      const asked = el("div", { class: "session-question", role: "group", "aria-label": `Delete “${nameOf(session)}”?` }, said, el("div", { class: "plan-row end" }, stay, button({ sign: "bin", words: "Delete it", kind: "danger", act: guarded(remove) })));
      // Once it is in the page.
      queueMicrotask(() => stay.focus());
      return asked;
    };
    const remove = async () => {
      const sign = el("span", { class: "hint" }, "Deleting…");
      item.append(sign);
      try {
        await store.api.send(`sessions/${session.id}`, { method: "DELETE" });
      } finally {
        sign.remove();
      }
      item.remove();
      tellEmpty();
      body.querySelector("button").focus();
      announce(`The conversation “${nameOf(session)}” is deleted`);
      if (session.id === store.session?.id) await open(null);
    };
    return item;
  };

  await load().catch(complain);
}

const nameOf = (session) => session.title || "Without a title";
const turnsOf = (session) => `${session.num_turns} ${session.num_turns === 1 ? "turn" : "turns"}`;
