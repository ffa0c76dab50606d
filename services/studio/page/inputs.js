// The inputs of the next turn: files on their way up, and assets of the session, each with the tag it is or will be called by.

import { button, choice, complain, el, guarded } from "./dom.js";
import { thumbnail } from "./media.js";
import { ROLES } from "./wording.js";

const AUTOMATIC = [["", "as the words say"], ...Object.entries(ROLES)];
const KINDS = { image: "image", video: "video" };

/** The tray above the instruction. Dispatches `change`. */
export class Inputs extends EventTarget {
  #next = 1;

  constructor(store, draw) {
    super();
    this.store = store;
    this.draw = draw;
    this.entries = [];
    this.element = el("ul", { class: "tray", "aria-label": "Inputs of the next turn", hidden: true });
  }

  /** Whether something is still on its way up. */
  get busy() {
    return this.entries.some((entry) => !entry.asset);
  }

  /** Begin to send files. */
  addFiles(files) {
    for (const file of files) this.#upload(file, file.name);
  }

  /** Send a picture that was drawn; resolves with its entry. */
  addDrawing(blob) {
    return this.#upload(new File([blob], "drawing.png", { type: "image/png" }), "drawing.png", "visual_prompt");
  }

  /** Use an asset of the session by its tag. */
  addTag(tag, asset, role = "") {
    const known = this.entries.find((entry) => entry.tag === tag);
    if (known) {
      if (role) known.select.value = role;
      return known;
    }
    return this.#place({ tag, asset, name: asset.filename }, role);
  }

  /** As a turn's request wants them. */
  request() {
    return this.entries.map(({ tag, asset, select }) => ({
      ...(tag ? { tag } : { upload_id: asset.id }),
      ...(select.value ? { role: select.value } : {}),
    }));
  }

  /** Forget all of them. */
  clear() {
    for (const entry of [...this.entries]) this.#remove(entry);
  }

  /** Predict what the server will call what is new: the next number of its kind. Tags are never given twice. */
  retag() {
    const taken = { image: 0, video: 0 };
    const tags = [
      ...(this.store.session?.assets ?? []).map((one) => one.tag),
      ...this.store.turns.flatMap((turn) => turn.inputs.map((one) => one.tag)),
    ];
    for (const tag of tags) {
      const [, kind, number] = /^(image|video)(\d+)$/.exec(tag) ?? [];
      if (kind) taken[kind] = Math.max(taken[kind], Number(number));
    }
    for (const entry of this.entries) {
      entry.called = entry.tag ?? (entry.asset ? `${KINDS[entry.asset.kind]}${(taken[entry.asset.kind] += 1)}` : "…");
      entry.label.textContent = entry.called;
      entry.select.setAttribute("aria-label", `Part of ${entry.called}`);
      entry.removal.setAttribute("aria-label", `Remove ${entry.called}`);
      entry.drawing.setAttribute("aria-label", `Draw on ${entry.called}`);
    }
  }

  async #upload(file, name, role = "") {
    const entry = this.#place({ name }, role);
    try {
      entry.asset = await this.store.api.upload(file, name, (done) => (entry.bar.value = done), entry.stop.signal);
    } catch (error) {
      this.#remove(entry);
      if (error.name !== "AbortError") complain(new Error(`${name}: ${error.message}`));
      return null;
    }
    entry.bar.remove();
    entry.place.replaceChildren(thumbnail(this.store.media, entry.asset));
    entry.drawing.hidden = entry.asset.kind !== "image" || role === "visual_prompt";
    this.#changed();
    return entry;
  }

  #place(known, role) {
    const id = this.#next++;
    const entry = { asset: null, tag: null, stop: new AbortController(), ...known };
    entry.label = el("span", { class: "tag" });
    entry.bar = el("progress", { max: 1, value: 0, "aria-label": `Sending ${known.name}` });
    entry.place = el("span", { class: "thumb-place" }, entry.asset ? thumbnail(this.store.media, entry.asset) : entry.bar);
    entry.select = choice(AUTOMATIC, role, { on: { change: () => this.#changed() } });
    entry.removal = button({ sign: "close", label: "Remove", kind: "quiet round small", act: () => this.#remove(entry, true) });
    entry.drawing = button({ sign: "draw", label: "Draw", kind: "quiet round small", act: guarded(() => this.draw(entry)) });
    entry.drawing.hidden = entry.asset?.kind !== "image";
    entry.element = el(
      "li",
      { class: "chip", data: { input: id } },
      entry.place,
      el("span", { class: "chip-words" }, el("span", { class: "chip-name" }, entry.label, el("span", { class: "ellipsis hint", title: known.name }, known.name)), entry.select),
      el("span", { class: "chip-tools" }, entry.drawing, entry.removal),
    );
    this.entries.push(entry);
    this.element.append(entry.element);
    this.#changed();
    return entry;
  }

  #remove(entry, byHand = false) {
    entry.stop.abort();
    this.entries = this.entries.filter((one) => one !== entry);
    entry.element.remove();
    this.#changed();
    if (byHand) document.getElementById("instruction").focus();
  }

  #changed() {
    this.element.hidden = this.entries.length === 0;
    this.retag();
    this.dispatchEvent(new Event("change"));
  }
}

/** Let files be dropped anywhere on the page, and pasted into it. */
export function acceptDrops(inputs) {
  const veil = document.getElementById("drop");
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files") && !document.querySelector("dialog[open]");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) veil.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = true;
    inputs.addFiles(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (files.length && !document.querySelector("dialog[open]")) inputs.addFiles(files);
  });
}
