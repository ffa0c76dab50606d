// What a turn may say beyond its words. An empty field leaves the choice to the server.

import { choice, el, field } from "./dom.js";
import { TASKS } from "./wording.js";

const THINKING = [
  ["auto", "only where needed"],
  ["on", "always"],
  ["review", "show me the plan first"],
  ["off", "never"],
];
const TIERS = [
  ["", "as the server does"],
  ["exact", "exact"],
  ["fast", "fast: fewer steps, small loss"],
];
const NUMBERS = [
  ["seed", "Seed", { min: 0, step: 1 }],
  ["steps", "Steps", { min: 1, step: 1 }],
  ["num_frames", "Frames", { min: 1, step: 4 }],
  ["width_px", "Width, px", { min: 16, step: 16 }],
  ["height_px", "Height, px", { min: 16, step: 16 }],
  ["guidance", "Text guidance", { min: 0.1, step: "any" }],
  ["image_guidance", "Image guidance", { min: 0.1, step: "any" }],
  ["preview_every_steps", "Steps per preview", { min: 0, step: 1 }],
];
const MEDIA_ONLY = ["steps", "num_frames", "width_px", "height_px", "guidance", "image_guidance", "preview_every_steps"];
const PREVIEW_EVERY = 4;

/** The fields of a turn's request that are settings. */
export class Settings {
  constructor() {
    this.task = choice([["", "as the inputs say"]], "", {});
    this.thinking = choice(THINKING, "auto", {});
    this.tier = choice(TIERS, "", {});
    this.numbers = Object.fromEntries(
      NUMBERS.map(([name, , limits]) => [name, el("input", { type: "number", inputmode: "decimal", placeholder: "auto", ...limits })]),
    );
    this.numbers.preview_every_steps.value = PREVIEW_EVERY;
    this.negative = el("input", { type: "text", maxlength: 4000, placeholder: "auto" });
    this.minScore = choice([["", "no"], ...[5, 6, 7, 8, 9].map((score) => [String(score), `below ${score} of 10`])], "", {});
    this.thinkingField = field("Thinking", this.thinking);
    this.reviewField = field("Retry if scored", this.minScore);
    this.element = el(
      "div",
      { class: "settings", id: "settings", role: "group", "aria-label": "Settings of the next turn", hidden: true },
      el("div", { class: "settings-row wide" }, field("Task", this.task), this.thinkingField),
      NUMBERS.map(([name, words]) => field(words, this.numbers[name])),
      field("Tier", this.tier),
      this.reviewField,
      field("Keep out of it", this.negative, { kind: "field wide" }),
    );
  }

  /** Offer what the weights have learnt. */
  fit(model) {
    const tasks = [...Object.keys(model.tasks ?? {}), "understand"];
    const known = this.task.value;
    this.task.replaceChildren(...[["", "as the inputs say"], ...tasks.map((task) => [task, TASKS[task] ?? task])].map(([value, words]) => el("option", { value }, words)));
    this.task.value = tasks.includes(known) ? known : "";
    this.numbers.steps.max = model.limits?.max_steps ?? "";
    this.numbers.num_frames.max = model.limits?.max_frames ?? "";
    for (const side of ["width_px", "height_px"]) {
      this.numbers[side].max = model.limits?.max_side_px ?? "";
      this.numbers[side].step = this.numbers[side].min = model.limits?.side_multiple_px ?? 16;
    }
    this.thinkingField.hidden = model.can_plan === false;
    this.reviewField.hidden = model.can_review === false;
  }

  /** As a turn's request wants them. */
  request() {
    const found = { thinking: this.thinking.value };
    if (this.task.value) found.task = this.task.value;
    const asks = this.task.value === "understand";
    for (const [name, control] of Object.entries(this.numbers)) {
      if (control.value !== "" && !(asks && MEDIA_ONLY.includes(name))) found[name] = Number(control.value);
    }
    if (this.tier.value && !asks) found.tier = this.tier.value;
    if (this.negative.value && !asks) found.negative_prompt = this.negative.value;
    if (this.minScore.value && !asks) found.self_review = { min_score: Number(this.minScore.value) };
    return found;
  }

  /** How many settings differ from their defaults. */
  changed() {
    const numbers = Object.entries(this.numbers).filter(([name, one]) => one.value !== (name === "preview_every_steps" ? String(PREVIEW_EVERY) : ""));
    return numbers.length + [this.task.value, this.tier.value, this.negative.value, this.minScore.value].filter(Boolean).length + (this.thinking.value !== "auto");
  }

  /** The first field that cannot be sent as it is. */
  invalid() {
    return Object.values(this.numbers).find((control) => !control.checkValidity()) ?? null;
  }
}
