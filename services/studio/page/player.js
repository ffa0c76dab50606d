// The stage: the selected turn's result, or what is known of it while it is made; and two results held against each other.

import { button, el, fill, guarded, say } from "./dom.js";
import { Controls, screen } from "./clip.js";
import { Comparison } from "./compare.js";
import { thumbnail } from "./media.js";
import { isOpen } from "./store.js";
import { measures, progress, standing, tagged } from "./wording.js";

/** The player. */
export class Player {
  #seen = "";

  constructor(store, actions) {
    this.store = store;
    this.actions = actions;
    this.comparison = null;
    this.title = el("h2", { class: "stage-title" });
    this.tools = el("div", { class: "stage-tools", role: "group", "aria-label": "Actions on what is shown" });
    this.place = el("div", { class: "screen-place" });
    this.below = el("div", { class: "below" });
    this.facts = el("dl", { class: "facts" });
    this.status = el("p", { class: "standing" });
    this.bar = el("progress", { max: 1, "aria-label": "Progress" });
    this.review = button({ words: "Review the plan", kind: "primary", act: () => actions.review(store.selected), hidden: true });
    this.work = el("div", { class: "stage-work" }, this.status, this.bar, this.review);
    fill(document.getElementById("stage"), el("header", { class: "panel-head" }, this.title, el("span", { class: "grow" }), this.tools), this.place, this.below, this.facts);
    store.addEventListener("change", () => this.update());
  }

  /** Hold turns against each other; `b` is what it is compared with, found if it is not named. */
  compare(a, b = null) {
    const shown = this.store.turns.filter((turn) => turn.job?.assets.length);
    const other = b ?? this.store.turn(a)?.parent ?? shown.find((turn) => turn.number !== a)?.number;
    const known = shown.some((turn) => turn.number === other) ? other : shown.find((turn) => turn.number !== a)?.number;
    this.comparison = new Comparison(this.store, known ?? a, a, () => this.#leave());
    this.update();
    this.comparison.element.querySelector("select")?.focus();
  }

  update() {
    const turn = this.store.turn(this.store.selected);
    if (this.comparison && this.comparison.session !== this.store.session?.id) this.comparison = null;
    const live = turn && this.store.liveOf(turn);
    const asset = this.comparison ? null : turn?.job?.assets[0];
    const working = !this.comparison && isOpen(turn?.job);
    const preview = working ? live?.preview : null;
    const key = JSON.stringify([this.store.session?.id, turn?.number, this.comparison?.id, asset?.id, preview?.id, working, turn?.job?.status, this.store.head]);
    if (key !== this.#seen) this.#rebuild(turn, asset, preview, working);
    this.#seen = key;
    if (working) {
      say(this.status, standing(turn.job, live));
      const waits = Boolean(live?.waiting);
      this.bar.hidden = waits;
      this.review.hidden = !waits;
      const done = progress(turn.job, live);
      if (done === null) this.bar.removeAttribute("value");
      else this.bar.value = done;
    }
  }

  /** The frame on the screen as a picture, for drawing on; with the tag and asset it belongs to. */
  async picture() {
    const turn = this.store.turn(this.store.selected);
    const asset = turn?.job?.assets[0];
    const shown = this.place.querySelector(".screen");
    if (!asset || !shown) throw new Error("There is no picture to draw on.");
    await shown.ready;
    this.controls?.leader.pause();
    const canvas = el("canvas", { width: asset.width_px, height: asset.height_px });
    canvas.getContext("2d").drawImage(shown, 0, 0, canvas.width, canvas.height);
    return { canvas, tag: `turn${turn.number}`, asset };
  }

  #leave() {
    this.comparison = null;
    this.update();
    this.tools.querySelector("button")?.focus();
  }

  #rebuild(turn, asset, preview, working) {
    this.controls = null;
    fill(this.below);
    fill(this.facts);
    fill(this.tools, this.comparison ? [] : this.#toolsOf(turn, asset, working));
    this.place.classList.toggle("working", working);
    this.place.classList.toggle("comparing", Boolean(this.comparison));
    if (this.comparison) {
      fill(this.title, "Compare");
      fill(this.place, this.comparison.element);
      return;
    }
    fill(this.title, turn ? [el("span", { class: "tag" }, `turn${turn.number}`), " ", el("span", { class: "ellipsis", dir: "auto" }, tagged(turn.instruction))] : "Player");
    if (asset) this.#show(turn, asset);
    else if (working) fill(this.place, preview ? this.#preview(preview) : el("div", { class: "waiting-mark", "aria-hidden": "true" }), this.work);
    else fill(this.place, el("p", { class: "nothing" }, nothing(turn)));
  }

  #preview(asset) {
    const made = thumbnail(this.store.media, asset, "A preview of the result on its way");
    made.className = `screen preview ${made.classList.contains("coarse") ? "coarse" : ""}`;
    made.style.aspectRatio = `${asset.width_px} / ${asset.height_px}`;
    made.style.setProperty("--ratio", asset.width_px / asset.height_px);
    return made;
  }

  #show(turn, asset) {
    const shown = screen(this.store.media, asset, `Result of turn ${turn.number}: ${turn.instruction}`);
    fill(this.place, shown);
    if (asset.kind === "video") {
      this.controls = new Controls([{ video: shown, asset }]);
      fill(this.below, this.controls.element);
    }
    const { spec, trials } = turn.job;
    const facts = [["Size", measures(asset)], ["Seed", spec.seed], ["Steps", spec.steps], ["Guidance", spec.guidance]];
    for (const trial of trials) facts.push([`Scores of seed ${trial.seed}`, Object.values(trial.review).filter((one) => one !== null).join(" · ")]);
    fill(this.facts, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
  }

  #toolsOf(turn, asset, working) {
    const { actions } = this;
    const made = [];
    const tool = (sign, words, act, kind = "quiet small") => made.push(button({ sign, words, kind, act: guarded(act) }));
    if (!turn) return made;
    if (working) tool("stop", "Cancel", () => this.store.cancel(turn), "small danger");
    if (asset) {
      tool("download", "Download", () => actions.download(turn));
      if (this.store.turns.filter((one) => one.job?.assets.length).length > 1) tool("compare", "Compare", () => this.compare(turn.number));
      tool("draw", "Draw on it", () => actions.drawOn());
      tool("use", "Use as input", () => actions.use(turn));
    }
    if (turn.job && !working) tool("again", "Another seed", () => actions.replay(turn.number));
    if (turn.number !== this.store.head) tool("branch", "Branch from here", () => actions.branch(turn.number), "small primary");
    return made;
  }
}

function nothing(turn) {
  if (!turn) return "What you make is shown here.";
  if (turn.job?.answer) return "This turn was a question; its answer is in the conversation.";
  return turn.job ? { failed: "This turn failed.", cancelled: "This turn was cancelled." }[turn.job.status] ?? "" : "The job of this turn was deleted.";
}
