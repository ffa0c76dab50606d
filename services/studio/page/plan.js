// A plan that waits: looked at, edited, approved or rejected.

import { button, choice, complain, el, field, fill } from "./dom.js";
import { ROLES, TASKS } from "./wording.js";

const MOST_STEPS = 8;

/** The form of a waiting plan. What was typed stays while the server refuses it. */
export class PlanReview {
  constructor(turn, plan, store) {
    this.turn = turn;
    this.plan = plan;
    this.store = store;
    const tasks = Object.keys(store.model?.tasks ?? {});
    if (plan.task && !tasks.includes(plan.task)) tasks.unshift(plan.task);
    this.task = choice(tasks.map((task) => [task, TASKS[task] ?? task]), plan.task, {});
    this.roles = Object.entries(plan.roles).map(([tag, role]) => [tag, choice(Object.entries(ROLES), role, {})]);
    // The plan counts a job's inputs in their order there; in the conversation the same input may have another number.
    const inputs = Object.fromEntries(turn.inputs.map((one) => [one.called, one]));
    const named = ([tag, control]) => field(inputs[tag] && inputs[tag].tag !== tag ? `${tag} (your ${inputs[tag].tag})` : tag, control);
    this.steps = el("ol", { class: "plan-steps" });
    this.prompt = el("textarea", { rows: 4, maxlength: 8000, value: plan.dense_prompt });
    this.fault = el("p", { class: "fault", role: "alert", hidden: true });
    for (const step of plan.steps) this.#addStep(step);
    this.add = button({ sign: "attach", words: "Add a step", kind: "quiet small", act: () => this.#addStep({ action: "", inputs: [] }, true) });
    this.approve = el("button", { type: "submit", class: "primary" }, "Approve");
    this.reject = button({ words: "Reject", kind: "danger", act: () => this.#decide({ approved: false }) });
    this.element = el(
      "form",
      { class: "plan", tabindex: "-1", "aria-label": `Plan of turn ${turn.number}`, on: { submit: (event) => this.#submit(event), input: () => this.#named() } },
      el("header", { class: "plan-head" }, el("h3", {}, "A plan for you to review"), el("p", { class: "hint" }, "It waits for as long as you like. Change what you want changed.")),
      el("div", { class: "plan-row" }, field("Task", this.task), this.roles.map(named)),
      el("fieldset", { class: "plan-fieldset" }, el("legend", {}, "Steps"), this.steps, this.add),
      field("Prompt for the generator", this.prompt, { hint: "It takes the place of what you typed." }),
      this.fault,
      el("div", { class: "plan-row end" }, this.reject, this.approve),
    );
  }

  /** The plan as the form has it. */
  edited() {
    const steps = [...this.steps.children]
      .map((row) => ({ action: row.querySelector("input").value.trim(), inputs: JSON.parse(row.dataset.inputs) }))
      .filter((step) => step.action);
    const roles = Object.fromEntries(this.roles.map(([tag, control]) => [tag, control.value]));
    return { ...this.plan, task: this.task.value || null, roles, steps, dense_prompt: this.prompt.value };
  }

  #isEdited() {
    return JSON.stringify(this.edited()) !== JSON.stringify(this.plan);
  }

  #named() {
    this.approve.textContent = this.#isEdited() ? "Approve with my changes" : "Approve";
    this.add.disabled = this.steps.children.length >= MOST_STEPS;
  }

  #addStep(step, focus = false) {
    const input = el("input", { type: "text", maxlength: 400, value: step.action, "aria-label": "Step" });
    const row = el("li", { data: { inputs: JSON.stringify(step.inputs) } });
    const remove = button({ sign: "close", label: "Remove this step", kind: "quiet round small", act: () => (row.remove(), this.#named(), this.add.focus()) });
    row.append(input, el("span", { class: "step-inputs" }, step.inputs.map((tag) => el("span", { class: "tag" }, tag))), remove);
    this.steps.append(row);
    if (focus) {
      this.#named();
      input.focus();
    }
  }

  #submit(event) {
    event.preventDefault();
    this.#decide(this.#isEdited() ? { approved: true, plan: this.edited() } : { approved: true });
  }

  async #decide(decision) {
    this.#busy(true);
    this.fault.hidden = true;
    try {
      await this.store.decide(this.turn, decision);
    } catch (error) {
      this.fault.hidden = false;
      this.fault.textContent = error.message;
      // Somebody else decided first: what is so now will show.
      if (error.code === "plan_conflict") this.store.refresh().catch(complain);
    } finally {
      this.#busy(false);
    }
  }

  #busy(busy) {
    this.approve.disabled = this.reject.disabled = busy;
    this.element.setAttribute("aria-busy", String(busy));
  }
}

/** A plan that was decided, to be unfolded. */
export function planSummary(plan) {
  const made = el("details", { class: "plan-summary" }, el("summary", {}, "Plan"));
  if (plan.clarification) return fill(made, el("summary", {}, "A question back"), el("p", { dir: "auto" }, plan.clarification));
  const roles = Object.entries(plan.roles).map(([tag, role]) => `${tag} is the ${role.replace("_", " ")}`);
  made.append(el("p", { class: "hint" }, [TASKS[plan.task] ?? plan.task, ...roles].join(" · ")));
  if (plan.steps.length) made.append(el("ol", {}, plan.steps.map((step) => el("li", { dir: "auto" }, step.action))));
  if (plan.dense_prompt) made.append(el("p", { class: "dense", dir: "auto" }, plan.dense_prompt));
  return made;
}
