// The public HTTP interface. The page holds no other way to the server.

const ROOT = new URL("../v1/", import.meta.url);
const KEY = "vogue-key";

/** The server's error, or that it could not be reached (`status` 0). */
export class ApiError extends Error {
  constructor(status, { message, code, param } = {}) {
    super(message || `the server answered ${status}`);
    this.name = "ApiError";
    this.status = status;
    this.code = code ?? "unknown";
    this.param = param ?? null;
  }
}

/** Requests with the key of this tab. `onRefused` is called when the server wants another one. */
export class Api {
  constructor() {
    this.onRefused = () => {};
  }

  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  set key(words) {
    if (words) sessionStorage.setItem(KEY, words);
    else sessionStorage.removeItem(KEY);
  }

  /** JSON out, JSON in. */
  async json(path, body, { method = body === undefined ? "GET" : "POST", headers = {}, signal } = {}) {
    const type = body === undefined ? {} : { "content-type": "application/json" };
    const text = body === undefined ? undefined : JSON.stringify(body);
    return (await this.send(path, { method, headers: { ...type, ...headers }, body: text, signal })).json();
  }

  /** A response whose status is good. */
  async send(path, { headers = {}, ...options } = {}) {
    let response;
    try {
      response = await fetch(new URL(path, ROOT), { ...options, headers: { ...this.#authority(), ...headers } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw unreachable();
    }
    if (!response.ok) throw this.#refusal(response.status, await response.text().catch(() => ""));
    return response;
  }

  /** Send a file, telling how far it is, in [0, 1]. */
  upload(file, name, onProgress, signal) {
    const form = new FormData();
    form.append("file", file, name);
    // Only the older interface tells how much has been sent.
    const request = new XMLHttpRequest();
    return new Promise((resolve, reject) => {
      request.open("POST", new URL("uploads", ROOT));
      for (const [header, value] of Object.entries(this.#authority())) request.setRequestHeader(header, value);
      request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
      request.onerror = () => reject(unreachable());
      request.onabort = () => reject(new DOMException("the upload was stopped", "AbortError"));
      request.onload = () => {
        if (request.status >= 400) reject(this.#refusal(request.status, request.responseText));
        else resolve(JSON.parse(request.responseText));
      };
      signal?.addEventListener("abort", () => request.abort());
      request.send(form);
    });
  }

  #authority() {
    return this.key ? { authorization: `Bearer ${this.key}` } : {};
  }

  #refusal(status, text) {
    let fault = {};
    try {
      fault = JSON.parse(text).error ?? {};
    } catch {
      // Something before the server answered, in words of its own.
    }
    if (status === 401) this.onRefused(fault.message ?? "the server asks for a key");
    return new ApiError(status, fault);
  }
}

function unreachable() {
  return new ApiError(0, { message: "the server cannot be reached; it may be restarting", code: "unreachable" });
}
