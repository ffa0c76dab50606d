// One turn: what was asked, what it looked at, how far it is, and what came of it.

import { button, el, fill, guarded, say } from "./dom.js";
import { posterOf, thumbnail } from "./media.js";
import { PlanReview, planSummary } from "./plan.js";
import { isOpen } from "./store.js";
import { measures, progress, standing, tagged } from "./wording.js";

/** The card of a turn. Its parts are made anew only when what they show has changed. */
export class TurnCard {
  #seen = {};

  constructor(turn, store, actions) {
    this.store = store;
    this.actions = actions;
    this.turn = turn;
    this.jobId = turn.job_id;
    const name = `turn-${turn.number}-name`;
    const heading = el("h2", { id: name, class: "turn-name" }, el("span", { class: "tag" }, `turn${turn.number}`));
    this.about = el("span", { class: "turn-about" });
    this.others = el("span", { class: "others" });
    this.asked = el("p", { class: "asked", dir: "auto" }, tagged(turn.instruction));
    this.inputs = el("ul", { class: "shown-inputs", "aria-label": "Inputs" });
    this.status = el("p", { class: "standing" });
    this.bar = el("progress", { max: 1, "aria-label": `Progress of turn ${turn.number}` });
    this.stop = button({ sign: "stop", words: "Cancel", kind: "small danger", act: guarded(() => store.cancel(this.turn)) });
    this.preview = el("div", { class: "card-preview" });
    this.work = el("div", { class: "work" }, this.preview, el("div", { class: "work-words" }, this.status, this.bar), this.stop);
    this.plan = el("div", { class: "plan-place" });
    this.outcome = el("div", { class: "outcome" });
    this.tools = el("div", { class: "card-tools", role: "group", "aria-label": `Actions on turn ${turn.number}` });
    this.element = el(
      "li",
      { class: "turn", data: { turn: turn.number } },
      el(
        "article",
        { "aria-labelledby": name },
        el("header", { class: "turn-head" }, heading, this.about, el("span", { class: "grow" }), this.others),
        el("div", { class: "request" }, this.asked, this.inputs),
        el("div", { class: "reply" }, this.work, this.plan, this.outcome, this.tools),
      ),
    );
    fill(this.inputs, turn.inputs.map((one) => this.#input(one)));
    this.inputs.hidden = turn.inputs.length === 0;
  }

  update(turn, live) {
    this.turn = turn;
    const job = turn.job;
    this.element.classList.toggle("selected", this.store.selected === turn.number);
    this.#if("about", [turn.replay_of, job?.spec.seed, job?.spec.task], () => say(this.about, about(turn)));
    this.#if("others", this.#siblings(), (numbers) => fill(this.others, this.#otherButtons(numbers)));
    this.work.hidden = !isOpen(job) || live?.assets !== undefined || live?.error != null;
    if (!this.work.hidden) this.#working(job, live);
    const plan = live?.plan ?? job?.plan;
    const waiting = isOpen(job) && plan && (live ? live.waiting : job.status === "waiting");
    this.#if("plan", [plan, Boolean(waiting)], () => fill(this.plan, this.#planOf(plan, waiting)));
    if (waiting && !this.wasWaiting) requestAnimationFrame(() => this.plan.scrollIntoView({ block: "start" }));
    this.wasWaiting = waiting;
    const text = job?.answer ?? live?.text;
    this.#if("outcome", [job?.status, job?.assets, job?.error, text], () => fill(this.outcome, this.#outcome(job, text)));
    this.#if("tools", [job?.status, job?.assets, this.store.head], () => fill(this.tools, this.#toolsOf(job)));
  }

  /** Call `make` if what it depends on has changed since the last time. */
  #if(name, value, make) {
    const seen = JSON.stringify(value);
    if (this.#seen[name] === seen) return;
    this.#seen[name] = seen;
    make(value);
  }

  #working(job, live) {
    say(this.status, standing(job, live));
    const done = progress(job, live);
    this.bar.hidden = live?.waiting ?? job.status === "waiting";
    if (done === null) this.bar.removeAttribute("value");
    else this.bar.value = done;
    this.bar.setAttribute("aria-valuetext", standing(job, live));
    this.#if("preview", live?.preview?.id, () => {
      const asset = live?.preview;
      fill(this.preview, asset ? thumbnail(this.store.media, asset, "A preview of the result on its way") : null);
    });
  }

  #input(one) {
    const words = `${one.tag} as ${one.role.replace("_", " ")}${one.still ? " (its first picture)" : ""}`;
    const place = el("span", { class: "thumb-place" });
    this.store.api
      .json(`assets/${one.asset_id}`)
      .then((asset) => place.append(thumbnail(this.store.media, asset)))
      .catch(() => place.classList.add("missing"));
    return el("li", { class: "shown-input" }, place, el("span", {}, el("span", { class: "tag" }, one.tag), ` ${words.slice(one.tag.length)}`));
  }

  #planOf(plan, waiting) {
    if (!plan) return null;
    if (waiting) return new PlanReview(this.turn, plan, this.store).element;
    return planSummary(plan);
  }

  #outcome(job, text) {
    const parts = [];
    if (!job) return [el("p", { class: "hint" }, "The job of this turn was deleted.")];
    if (text) parts.push(el("p", { class: "answer", dir: "auto" }, text));
    if (job.status === "cancelled") parts.push(el("p", { class: "hint" }, "Cancelled."));
    if (job.status === "failed") {
      parts.push(el("p", { class: "fault" }, el("strong", {}, "Failed. "), job.error?.message ?? "No reason was given."));
    }
    if (job.assets.length) {
      const asset = job.assets[0];
      const picture = thumbnail(this.store.media, posterOf(job.assets));
      const words = `Show the result of turn ${this.turn.number}, ${asset.kind}, ${measures(asset)}`;
      const show = el("button", { type: "button", class: "result", "aria-label": words, on: { click: () => this.actions.show(this.turn.number) } }, picture);
      show.append(el("span", { class: "result-kind" }, asset.kind === "video" ? `${(asset.num_frames / asset.fps).toFixed(1)} s` : "picture"));
      parts.push(show);
    }
    for (const notice of job.notices) parts.push(el("p", { class: "hint" }, notice));
    return parts;
  }

  #toolsOf(job) {
    const { turn, actions } = this;
    const made = [];
    const tool = (sign, words, act) => made.push(button({ sign, words, kind: "quiet small", act: guarded(act) }));
    if (turn.number !== this.store.head) tool("branch", "Branch from here", () => actions.branch(turn.number));
    if (job && !isOpen(job)) tool("again", "Another seed", () => actions.replay(turn.number));
    if (job?.status === "failed") tool("redo", "Take up again", () => this.store.resume(turn));
    if (job?.assets.length) tool("download", "Download", () => actions.download(turn));
    return made;
  }

  /** The other turns that follow the same one. */
  #siblings() {
    return this.store.turns
      .filter((one) => one.parent === this.turn.parent && one.number !== this.turn.number)
      .map((one) => one.number);
  }

  #otherButtons(numbers) {
    const words = (number) => ({ words: `turn${number}`, "aria-label": `Look at turn ${number}, which follows the same turn` });
    const made = numbers.map((number) => button({ ...words(number), kind: "tag other", act: () => this.actions.show(number) }));
    return numbers.length ? [el("span", { class: "hint" }, "beside"), ...made] : [];
  }
}

function about(turn) {
  const parts = [];
  if (turn.replay_of) parts.push(`turn ${turn.replay_of} again`);
  if (turn.job?.spec.task && turn.job.spec.task !== "understand") parts.push(`seed ${turn.job.spec.seed}`);
  return parts.join(", ");
}
