// Server-sent events by fetch, because EventSource can carry no key. A stream that breaks off is taken up where it ended.

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
const FINAL = new Set(["completed", "failed", "cancelled"]);

/** Whether no event can follow one of this kind. */
export const isFinal = (kind) => FINAL.has(kind);

/** Pieces of a stream in, whole events `{id, data}` out. */
export class EventParser {
  #rest = "";
  #id = "";
  #data = [];

  push(text) {
    const found = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) found.push({ id: this.#id, data: this.#data.join("\n") });
        this.#data = [];
      } else if (!line.startsWith(":")) {
        const [, name, value] = /^([^:]*)(?:: ?([^]*))?$/.exec(line);
        if (name === "id") this.#id = value ?? "";
        else if (name === "data") this.#data.push(value ?? "");
      }
    }
    return found;
  }
}

/**
 * Hear a job's events after number `after` until the last one.
 * Connections that break are made again with Last-Event-ID; only a refusal by the server is thrown.
 */
export async function listen(api, jobId, { after = 0, signal, onEvent, onConnection }) {
  let last = after;
  let pause = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      const headers = last > 0 ? { "last-event-id": String(last) } : {};
      const response = await api.send(`jobs/${jobId}/events`, { headers, signal });
      onConnection(true);
      for await (const event of events(response.body)) {
        pause = FIRST_PAUSE_MS;
        if (event.seq <= last) continue;
        last = event.seq;
        onEvent(event);
        if (isFinal(event.kind)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const passing = !error.status || error.status === 429 || error.status >= 500;
      if (!passing) throw error;
    }
    if (signal.aborted) return;
    onConnection(false);
    await rest(pause * (0.5 + Math.random() / 2), signal);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

async function* events(body) {
  const parser = new EventParser();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const found of parser.push(value)) yield JSON.parse(found.data);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function rest(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
