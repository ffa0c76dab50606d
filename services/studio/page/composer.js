// Where the next turn is said: words, inputs, settings, and what it follows.

import { button, complain, el, fill, icon, say } from "./dom.js";
import { isOpen } from "./store.js";
import { Inputs } from "./inputs.js";
import { Settings } from "./settings.js";

const TITLE_CHARS = 60;
const ACCEPTED = "image/*,video/*";

/** The form below the conversation. What was typed stays until the server has taken it. */
export class Composer {
  #sent = null;

  constructor(store, draw) {
    this.store = store;
    this.inputs = new Inputs(store, draw);
    this.settings = new Settings();
    this.fresh = false;
    this.words = el("textarea", {
      id: "instruction",
      rows: 2,
      maxlength: 20000,
      placeholder: "Say what shall be made or changed",
      "aria-label": "Instruction",
      "aria-describedby": "follows",
      on: { keydown: (event) => this.#onKey(event), input: () => this.update() },
    });
    this.mentions = el("div", { class: "mentions", role: "group", "aria-label": "Put a name into the instruction" });
    this.picker = el("input", { type: "file", multiple: true, accept: ACCEPTED, class: "hidden", tabindex: "-1", "aria-label": "Files to add", on: { change: () => this.#picked() } });
    this.follows = el("span", { id: "follows", class: "hint" });
    this.anew = button({ words: "Begin anew", kind: "quiet small", act: () => this.#toggleFresh() });
    this.attach = button({ sign: "attach", words: "Add files", kind: "quiet small", act: () => this.picker.click() });
    this.options = button({ sign: "sliders", words: "Settings", kind: "quiet small", act: () => this.#toggleSettings(), "aria-expanded": "false", "aria-controls": "settings" });
    this.send = el("button", { type: "submit", class: "primary send", "aria-label": "Send" }, icon("send"));
    this.form = document.getElementById("composer");
    this.form.noValidate = true;
    fill(
      this.form,
      this.inputs.element,
      this.settings.element,
      el("div", { class: "follow-row" }, this.follows, this.anew, el("span", { class: "grow" }), this.mentions),
      el("div", { class: "write" }, this.words, this.send),
      el("div", { class: "tools" }, this.attach, this.options, this.picker, el("span", { class: "grow" }), el("span", { class: "hint keys", "aria-hidden": "true" }, "Enter sends · Shift+Enter breaks the line")),
    );
    this.form.addEventListener("submit", (event) => (event.preventDefault(), this.submit()));
    this.settings.element.addEventListener("input", () => this.update());
    this.inputs.addEventListener("change", () => this.update());
    store.addEventListener("change", () => (this.inputs.retag(), this.update()));
  }

  update() {
    const head = this.store.turn(this.store.head);
    const working = isOpen(head?.job);
    this.anew.hidden = !head;
    this.anew.setAttribute("aria-pressed", String(this.fresh));
    const after = head && !this.fresh ? `Follows turn ${head.number}${working ? ", which is still at work" : ""}` : "Begins anew";
    say(this.follows, this.store.turns.length ? after : "");
    const changed = this.settings.changed();
    this.options.lastChild.textContent = changed ? `Settings (${changed})` : "Settings";
    this.send.disabled = this.inputs.busy || this.sending || !this.words.value.trim();
    this.send.title = working ? "The last turn is still at work: cancel it, or wait" : "Send";
    this.words.rows = Math.min(8, Math.max(2, this.words.value.split("\n").length));
    this.#nameMentions();
  }

  /** Put words into the instruction, as if typed. */
  write(words) {
    this.words.value = words;
    this.update();
    this.words.focus();
  }

  async submit() {
    const instruction = this.words.value.trim();
    const wrong = this.settings.invalid();
    if (wrong) {
      this.#toggleSettings(true);
      wrong.reportValidity();
      return;
    }
    if (!instruction || this.inputs.busy || this.sending) return;
    const request = { instruction, inputs: this.inputs.request(), ...this.settings.request() };
    if (this.fresh && this.store.head) request.parent = 0;
    if (this.store.session) request.expected_head = this.store.head ?? 0;
    this.sending = true;
    this.update();
    try {
      await this.store.take(request, instruction.slice(0, TITLE_CHARS), this.#keyOf(request));
      this.#sent = null;
      this.words.value = "";
      this.inputs.clear();
      this.fresh = false;
    } catch (error) {
      complain(error);
    } finally {
      this.sending = false;
      this.update();
      this.words.focus();
    }
  }

  /** One key for one request, so that sending it again after a broken connection makes no second turn. */
  #keyOf(request) {
    const body = JSON.stringify([this.store.session?.id, request]);
    if (this.#sent?.body !== body) {
      const random = crypto.getRandomValues(new Uint8Array(16));
      this.#sent = { body, key: `studio-${[...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")}` };
    }
    return this.#sent.key;
  }

  #onKey(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.submit();
    }
  }

  #picked() {
    this.inputs.addFiles(this.picker.files);
    this.picker.value = "";
  }

  #toggleFresh() {
    this.fresh = !this.fresh;
    this.update();
  }

  #toggleSettings(open = this.settings.element.hidden) {
    this.settings.element.hidden = !open;
    this.options.setAttribute("aria-expanded", String(open));
  }

  /** The latest names that can be said. */
  #nameMentions() {
    const known = (this.store.session?.assets ?? []).map((one) => one.tag);
    const names = [...new Set([...known, ...this.inputs.entries.filter((one) => one.asset).map((one) => one.called)])].slice(-6);
    if (this.named === names.join()) return;
    this.named = names.join();
    const put = (name) => () => {
      this.words.setRangeText(name, this.words.selectionStart, this.words.selectionEnd, "end");
      this.update();
      this.words.focus();
    };
    fill(this.mentions, names.map((name) => el("button", { type: "button", class: "tag", on: { click: put(name) } }, name)));
  }
}
