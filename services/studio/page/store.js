// What the page knows: the session as the server tells it, and what the event streams of its open jobs add.
// Parts of the page listen to `change`; none of them keeps state of its own that the server has.

import { announce, complain } from "./dom.js";
import { isFinal, listen } from "./events.js";

// A browser opens six connections to one server. Streams hold theirs, so most of them stay free for everything else.
const MOST_STREAMS = 2;
const POLL_MS = 4000;

/** Whether a job is not over. */
export const isOpen = (job) => Boolean(job) && !isFinal(job.status);

/** A session and its jobs on the move. */
export class Store extends EventTarget {
  constructor(api, media) {
    super();
    this.api = api;
    this.media = media;
    this.model = null;
    this.session = null;
    this.selected = null;
    this.live = new Map();
    this.broken = new Set();
    this.loading = null;
    this.again = null;
    this.epoch = 0;
    this.poll = 0;
    this.streams = new Map();
  }

  get turns() {
    return this.session?.turns ?? [];
  }

  get head() {
    return this.session?.head ?? null;
  }

  /** A turn by its number. */
  turn(number) {
    return this.turns.find((turn) => turn.number === number) ?? null;
  }

  /** The turns from the start to the head. */
  branch() {
    const path = [];
    for (let turn = this.turn(this.head); turn; turn = this.turn(turn.parent)) path.unshift(turn);
    return path;
  }

  /** What is known of a turn's job beyond the job itself. */
  liveOf(turn) {
    return this.live.get(turn.job_id) ?? null;
  }

  /** Open a session, or none for a new conversation. */
  async open(sessionId, selected = null) {
    for (const stream of this.streams.values()) stream.abort();
    this.streams.clear();
    this.live.clear();
    this.broken.clear();
    this.media.clear();
    this.epoch += 1;
    this.session = null;
    this.selected = selected;
    if (sessionId) await this.refresh(sessionId);
    else this.#changed();
  }

  /** Read the session again; calls that come meanwhile share one answer that is not older than they are. */
  async refresh(sessionId = this.session?.id) {
    if (!sessionId) return;
    if (this.loading) {
      const later = () => ((this.again = null), this.refresh(this.session?.id ?? sessionId));
      this.again ??= this.loading.then(later, later);
      await this.again;
      return;
    }
    const epoch = this.epoch;
    this.loading = this.api.json(`sessions/${sessionId}`);
    try {
      const session = await this.loading;
      // Another session was opened meanwhile, or the head was moved: this answer is of before.
      if (epoch === this.epoch) this.session = session;
    } finally {
      this.loading = null;
    }
    if (epoch !== this.epoch) return;
    if (this.selected === null || !this.turn(this.selected)) this.selected = this.head;
    this.#follow();
    this.#changed();
  }

  /** Show a turn in the player; `null` is the start. */
  select(number) {
    this.selected = number;
    this.#changed();
  }

  /** Submit the next turn, in a new session if there is none. */
  async take(request, title, idempotencyKey) {
    if (!this.session) this.session = await this.api.json("sessions", { title });
    const headers = { "idempotency-key": idempotencyKey };
    return this.#added(this.api.json(`sessions/${this.session.id}/turns`, request, { headers }));
  }

  /** Do a turn again with another seed. */
  async replay(number) {
    return this.#added(this.api.json(`sessions/${this.session.id}/turns/${number}/replay`, {}));
  }

  /** Go on from a turn, or from the start (0). */
  async moveHead(number) {
    this.session = await this.api.json(`sessions/${this.session.id}/head`, { turn: number, expected_head: this.head ?? 0 });
    this.#moved();
    announce(number ? `The next turn follows turn ${number}` : "The next turn begins anew");
  }

  /** Move the head to its parent. */
  async undo() {
    this.session = await this.api.json(`sessions/${this.session.id}/undo`, { expected_head: this.head ?? 0 });
    this.#moved();
    announce(this.head ? `Undone: the next turn follows turn ${this.head}` : "Undone: you are at the start");
  }

  /** Ask a turn's job to stop. */
  async cancel(turn) {
    await this.api.json(`jobs/${turn.job_id}/cancel`, {});
    announce(`Turn ${turn.number} is being cancelled`);
    await this.refresh();
  }

  /** Take a failed job up again. */
  async resume(turn) {
    await this.api.json(`jobs/${turn.job_id}/resume`, {});
    this.live.delete(turn.job_id);
    await this.refresh();
  }

  /** Decide about a plan that waits. */
  async decide(turn, decision) {
    await this.api.json(`jobs/${turn.job_id}/plan`, decision);
    const live = this.live.get(turn.job_id);
    if (live) live.waiting = false;
    announce(decision.approved ? "The plan is approved" : "The plan is rejected");
    await this.refresh();
  }

  #moved() {
    this.epoch += 1;
    this.selected = this.head;
    this.#follow();
    this.#changed();
  }

  async #added(request) {
    const turn = await request.catch(async (error) => {
      if (error.code === "turn_conflict") await this.refresh().catch(() => {});
      throw error;
    });
    this.selected = turn.number;
    announce(`Turn ${turn.number} is submitted`);
    await this.refresh();
    return turn;
  }

  /** Listen to the open jobs that matter most: what works before what waits, the head first, then the newest. */
  #follow() {
    const open = this.turns.filter((turn) => isOpen(turn.job) && !this.broken.has(turn.job_id));
    const rank = (turn) => (turn.job.status === "waiting" ? 2 : 0) + (turn.number === this.head ? 0 : 1);
    const wanted = open.sort((a, b) => rank(a) - rank(b) || b.number - a.number).slice(0, MOST_STREAMS);
    const ids = new Set(wanted.map((turn) => turn.job_id));
    for (const [id, stream] of this.streams) {
      if (!ids.has(id)) {
        stream.abort();
        this.streams.delete(id);
      }
    }
    for (const turn of wanted) if (!this.streams.has(turn.job_id)) this.#listenTo(turn);
    clearTimeout(this.poll);
    if (open.length > wanted.length || this.broken.size) this.poll = setTimeout(() => this.refresh().catch(() => {}), POLL_MS);
  }

  #listenTo(turn) {
    const stream = new AbortController();
    const live = this.live.get(turn.job_id) ?? { seq: 0, kind: "queued", text: "", trials: [], notices: [] };
    this.live.set(turn.job_id, live);
    this.streams.set(turn.job_id, stream);
    const onEvent = (event) => {
      // A stream that was given up may still hold an event or two.
      if (stream.signal.aborted) return;
      apply(live, event);
      this.#tell(turn, event);
      this.#changed();
    };
    const onConnection = (connected) => this.dispatchEvent(new CustomEvent("connection", { detail: connected }));
    listen(this.api, turn.job_id, { after: live.seq, signal: stream.signal, onEvent, onConnection })
      .catch((error) => {
        this.broken.add(turn.job_id);
        complain(error);
      })
      .finally(() => {
        if (this.streams.get(turn.job_id) !== stream) return;
        this.streams.delete(turn.job_id);
        this.refresh().catch(complain);
      });
  }

  /** Say what is worth hearing: not every step, but every quarter of them. */
  #tell(turn, event) {
    const name = `Turn ${turn.number}`;
    if (event.kind === "waiting") announce(`${name} has a plan that waits for you`);
    else if (event.kind === "completed") announce(`${name} is ready`);
    else if (event.kind === "failed") announce(`${name} failed: ${event.error?.message ?? ""}`);
    else if (event.kind === "cancelled") announce(`${name} is cancelled`);
    else if (event.kind === "step" && event.steps_total) {
      const quarter = (step) => Math.floor((4 * step) / event.steps_total);
      if (quarter(event.steps_done) > quarter(event.steps_done - 1)) {
        announce(`${name}: step ${event.steps_done} of ${event.steps_total}`);
      }
    }
    if (event.kind === "waiting") this.refresh().catch(() => {});
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** What an event adds to what is known of a job. */
function apply(live, event) {
  live.seq = event.seq;
  live.kind = event.kind;
  live.stage = event.stage ?? live.stage;
  live.queuePosition = event.kind === "queued" ? event.queue_position : null;
  live.etaS = event.eta_s ?? null;
  // A preview is of a step that may have been passed since.
  if (event.steps_total && event.kind !== "preview") {
    live.stepsDone = event.steps_done;
    live.stepsTotal = event.steps_total;
  }
  if (event.kind === "preview") live.preview = event.assets[0];
  if (event.kind === "text") live.text += event.text;
  if (event.kind === "trial") live.trials.push(event.trial);
  if (event.kind === "notice") live.notices.push(event.message);
  if (event.plan) live.plan = event.plan;
  if (event.kind !== "notice") live.waiting = event.kind === "waiting";
  if (isFinal(event.kind)) Object.assign(live, { assets: event.assets, error: event.error });
}
