// How things are called and said, in one place.

import { el } from "./dom.js";

export const TASKS = {
  t2i: "Picture from words",
  t2v: "Clip from words",
  i2v: "Clip from a picture",
  i2i_edit: "Edit a picture",
  v2v_edit: "Edit a clip",
  "i+i2i_edit": "Edit a picture with references",
  "i+v2v_edit": "Edit a clip with references",
  multiid: "Bring references together",
  understand: "Ask a question",
};

export const ROLES = {
  source: "source (edited)",
  reference: "reference (shown)",
  first_frame: "first frame",
  visual_prompt: "visual prompt",
};

const STAGES = {
  ingest: "Reading the inputs",
  plan: "Thinking about a plan",
  route: "Choosing the way",
  answer: "Answering",
  encode: "Encoding",
  denoise: "Generating",
  decode: "Decoding",
  review: "Scoring the result",
  deliver: "Writing the files",
};

/** Where a turn's job stands, in a few words. */
export function standing(job, live) {
  const kind = live?.kind ?? job.status;
  if (job.status === "completed" || kind === "completed") return "Ready";
  if (job.status === "cancelled" || kind === "cancelled") return "Cancelled";
  if (job.status === "failed" || kind === "failed") return "Failed";
  if (live?.waiting || (job.status === "waiting" && live?.waiting !== false)) return "Waiting for your decision";
  if (kind === "queued" || job.status === "queued") return queue(live);
  if (live?.stepsTotal && live.stage === "denoise") {
    return `Step ${live.stepsDone} of ${live.stepsTotal}${left(live.etaS)}`;
  }
  return STAGES[live?.stage ?? job.stage] ?? "At work";
}

function queue(live) {
  const place = live?.queuePosition;
  return `${place ? `Number ${place} in the queue` : "Queued"}${left(live?.etaS)}`;
}

function left(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `, about ${Math.max(1, Math.round(seconds))} s left`;
  return `, about ${Math.round(seconds / 60)} min left`;
}

/** How far a job is, in [0, 1]; `null` where that is not known. */
export function progress(job, live) {
  const total = live?.stepsTotal ?? job.steps_total;
  return total ? (live?.stepsDone ?? job.steps_done) / total : null;
}

/** Words with the tags among them set off. */
export function tagged(words) {
  const pieces = words.split(/((?<![\w-])(?:turn|image|video)\s?#?\s?[1-9]\d{0,3}(?![\w-]))/i);
  return pieces.map((piece, index) => (index % 2 ? el("span", { class: "tag" }, piece) : piece));
}

/** The size and length of an asset. */
export function measures(asset) {
  const size = `${asset.width_px}×${asset.height_px}`;
  return asset.kind === "video" ? `${size}, ${asset.num_frames} frames at ${round(asset.fps)}/s` : size;
}

/** A number without more digits than it needs. */
export const round = (value) => String(Math.round(value * 100) / 100);
