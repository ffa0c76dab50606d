// Drawing a visual prompt on a picture, by pointer or by keys.

import { button, choice, el, field, fill, icon, openDialog, say } from "./dom.js";
import { WIDTHS, describe, enlarged, newMark, paint } from "./marks.js";

const TOOLS = [
  ["arrow", "Arrow", "where something moves"],
  ["ring", "Ring", "what to change, in the colour it shall have"],
  ["cross", "Cross", "what to take away"],
  ["text", "Text", "words on the picture"],
];
const COLORS = [
  ["#ff00dc", "magenta"],
  ["#e0242c", "red"],
  ["#fa8814", "orange"],
  ["#fcde30", "yellow"],
  ["#24ac4c", "green"],
  ["#2c60e8", "blue"],
  ["#9238c4", "purple"],
  ["#fc88be", "pink"],
  ["#fafaf6", "white"],
];
const PARTS = [
  ["source", "what is edited"],
  ["first_frame", "where a clip starts"],
  ["", "left out"],
];
const STEP = 0.02;

/** Let somebody draw on a picture. Resolves with `{blob, part}`, `part` being the role of the clean picture, or with `null`. */
export function drawOn(picture, { name, hint }) {
  return new Promise((resolve) => new DrawingDialog(picture, name, hint, resolve));
}

class DrawingDialog {
  constructor(picture, name, hint, resolve) {
    this.ground = enlarged(picture);
    this.marks = [];
    this.undone = [];
    this.cursor = { x: 0.5, y: 0.5 };
    this.start = null;
    this.keys = false;
    this.result = null;
    const bold = Math.max(picture.width, picture.height) <= 160 ? "bold" : "medium";
    this.canvas = el("canvas", {
      class: "drawing",
      width: this.ground.width,
      height: this.ground.height,
      tabindex: "0",
      role: "application",
      "aria-label": `Drawing on ${name}`,
      "aria-describedby": "drawing-keys",
    });
    this.canvas.style.setProperty("--ratio", picture.width / picture.height);
    this.tools = this.#radios("Tool", "tool", TOOLS.map(([value, words, what]) => [value, words, icon(value), what]), "arrow");
    this.colors = this.#radios("Colour", "colour", COLORS.map(([value, words]) => [value, words, this.#swatch(value), words]), COLORS[0][0]);
    this.text = el("input", { type: "text", maxlength: 60, value: "", placeholder: "words" });
    this.textField = field("Words", this.text, { kind: "field text-field" });
    this.width = choice(Object.keys(WIDTHS).map((width) => [width, width]), bold, {});
    this.undo = button({ sign: "undo", words: "Undo", kind: "quiet small", act: () => this.#move(this.marks, this.undone) });
    this.redo = button({ sign: "redo", words: "Redo", kind: "quiet small", act: () => this.#move(this.undone, this.marks) });
    this.list = el("ul", { class: "marks", "aria-label": "Marks" });
    this.status = el("p", { class: "hint", role: "status" });
    this.part = choice(PARTS, "source", {});
    this.use = button({ words: "Use the drawing", kind: "primary", act: () => this.#finish() });
    const side = el("div", { class: "drawing-side" }, this.tools, this.textField, this.colors, field("Lines", this.width), el("div", { class: "row" }, this.undo, this.redo), this.list);
    const keys = el("p", { id: "drawing-keys", class: "hint" }, "Drag to draw. With keys: arrows move the crosshair, Enter sets the two ends of a mark, Escape lets go of the first.");
    const foot = el("footer", { class: "dialog-foot" }, field("The clean picture is", this.part), el("span", { class: "grow" }), this.use);
    const body = el("div", { class: "drawing-body" }, el("div", { class: "drawing-place" }, this.canvas, this.status, keys), side);
    this.dialog = openDialog(`Draw on ${name}`, el("div", { class: "drawing-all" }, hint && el("p", { class: "fault" }, hint), body, foot), { kind: "wide" });
    this.dialog.addEventListener("close", () => resolve(this.result));
    this.#listen();
    this.#update();
  }

  #swatch(value) {
    const made = el("span", { class: "swatch" });
    made.style.background = value;
    return made;
  }

  #radios(words, name, options, value) {
    const made = options.map(([one, label, sign, what]) =>
      el("label", { class: "pick", title: what }, el("input", { type: "radio", name, value: one, "aria-label": label === what ? label : `${label}: ${what}`, checked: one === value }), sign, name === "tool" && el("span", {}, label)),
    );
    return el("fieldset", { class: `picks ${name}` }, el("legend", {}, words), made);
  }

  #chosen(fieldset) {
    return fieldset.querySelector("input:checked").value;
  }

  #listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.keys = false;
      this.start = this.cursor = this.#at(event);
      this.#update();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.start || this.keys) return;
      this.cursor = this.#at(event);
      this.#update();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!this.start || this.keys) return;
      this.cursor = this.#at(event);
      this.#add();
    });
    canvas.addEventListener("pointercancel", () => this.#letGo());
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    canvas.addEventListener("blur", () => this.#letGo());
    this.tools.addEventListener("change", () => this.#update());
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    const within = (value) => Math.min(1, Math.max(0, value));
    return { x: within((event.clientX - box.left) / box.width), y: within((event.clientY - box.top) / box.height) };
  }

  #onKey(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = event.shiftKey ? STEP / 4 : STEP;
    if (event.key in moves) {
      const [right, down] = moves[event.key];
      const within = (value) => Math.min(1, Math.max(0, value));
      this.keys = true;
      this.cursor = { x: within(this.cursor.x + right * step), y: within(this.cursor.y + down * step) };
      this.#update();
    } else if (event.key === "Enter" || event.key === " ") {
      this.keys = true;
      if (this.start || this.#chosen(this.tools) === "text") this.#add();
      else this.start = this.cursor;
      this.#update();
    } else if (event.key === "Escape" && this.start) {
      this.#letGo();
    } else if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      this.#move(this.marks, this.undone);
    } else {
      return;
    }
    event.preventDefault();
  }

  #pending() {
    const kind = this.#chosen(this.tools);
    return newMark(kind, this.start ?? this.cursor, this.cursor, this.#chosen(this.colors), this.width.value, this.text.value.trim());
  }

  #add() {
    const mark = this.#pending();
    this.start = null;
    if (mark.kind === "text" && !mark.text) {
      this.text.focus();
      say(this.status, "Type the words first, then say where they go.");
      this.#paint();
      return;
    }
    this.marks.push(mark);
    this.undone.length = 0;
    this.#update(`Added: ${describe(mark, COLORS)}`);
  }

  #letGo() {
    if (!this.start) return;
    this.start = null;
    this.#update();
  }

  #move(from, to) {
    const mark = from.pop();
    if (mark) to.push(mark);
    this.#update();
  }

  #update(words) {
    this.textField.hidden = this.#chosen(this.tools) !== "text";
    this.undo.disabled = this.marks.length === 0;
    this.redo.disabled = this.undone.length === 0;
    this.use.disabled = this.marks.length === 0;
    const remove = (index) => () => (this.marks.splice(index, 1), this.#update(), this.canvas.focus());
    const rows = this.marks.map((mark, index) => {
      const made = describe(mark, COLORS);
      return el("li", {}, el("span", {}, made), button({ sign: "bin", label: `Remove ${made}`, kind: "quiet round small", act: remove(index) }));
    });
    fill(this.list, rows);
    const place = `${Math.round(100 * this.cursor.x)} %, ${Math.round(100 * this.cursor.y)} %`;
    say(this.status, words ?? (this.keys ? `${this.start ? "First end is set; now at" : "Crosshair at"} ${place}` : ""));
    this.#paint();
  }

  #paint() {
    const context = this.canvas.getContext("2d");
    context.drawImage(this.ground, 0, 0);
    paint(this.canvas, this.start ? [...this.marks, this.#pending()] : this.marks);
    if (this.keys) this.#crosshair(context);
  }

  #crosshair(context) {
    const { width, height } = this.canvas;
    const [x, y, reach] = [this.cursor.x * width, this.cursor.y * height, Math.max(width, height) / 24];
    for (const [color, line] of [["#000000", 5], ["#ffffff", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = (line * Math.max(width, height)) / 512;
      context.beginPath();
      context.moveTo(x - reach, y);
      context.lineTo(x + reach, y);
      context.moveTo(x, y - reach);
      context.lineTo(x, y + reach);
      context.stroke();
    }
  }

  #finish() {
    this.start = null;
    this.keys = false;
    this.#paint();
    this.canvas.toBlob((blob) => {
      this.result = { blob, part: this.part.value };
      this.dialog.close();
    }, "image/png");
  }
}
