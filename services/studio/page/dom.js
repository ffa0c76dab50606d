// Building elements. Text is only ever set as text: what people type cannot become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `class`, `data`, `on` and attributes by name; strings among the children become text. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name === "on") for (const [kind, act] of Object.entries(value)) made.addEventListener(kind, act);
    else if (name === "value" || name === "checked" || name === "muted") made[name] = value;
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** An element of a drawing. */
export function svg(tag, props = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** A sign out of the page's own set; whoever uses it says in words what it means. */
export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#icon-${name}` }));
}

/** A button with a sign, words, or both. Without words, `label` says what it does. */
export function button({ sign, words, label, act, kind = "quiet", ...props }) {
  const named = words ? {} : { "aria-label": label, title: label };
  const inside = [sign && icon(sign), words && el("span", {}, words)];
  return el("button", { type: "button", class: kind, ...named, ...props, on: { click: act } }, inside);
}

/** A labelled field. */
export function field(words, control, { hint, kind = "field" } = {}) {
  return el("label", { class: kind }, el("span", { class: "field-name" }, words), control, hint && el("small", {}, hint));
}

/** A choice; `options` are pairs of value and words. */
export function choice(options, value, props = {}) {
  const made = el("select", props, options.map(([one, words]) => el("option", { value: one }, words)));
  made.value = value;
  return made;
}

/** Replace what an element holds. */
export function fill(target, ...children) {
  target.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return target;
}

/** Set text only where it differs, so that screen readers do not hear it again. */
export function say(target, words) {
  if (target.textContent !== words) target.textContent = words;
}

/** Tell those who listen rather than look. */
export function announce(words) {
  say(document.getElementById("announcer"), words);
}

/** Show a fault to everybody, for as long as it takes to read it. */
export function complain(error) {
  const words = error instanceof Error ? error.message : String(error);
  // Where the server wants a key, a dialog asks for it.
  if (error?.status === 401) return;
  const toast = el("div", { class: "toast" }, el("p", {}, words));
  const leave = () => toast.remove();
  toast.append(button({ sign: "close", label: "Dismiss", act: leave, kind: "quiet round small" }));
  const toasts = document.getElementById("toasts");
  // What lies outside an open dialog can be neither read nor reached.
  (document.querySelector("dialog[open]") ?? document.body).append(toasts);
  toasts.append(toast);
  setTimeout(leave, Math.max(8000, words.length * 90));
}

/** Run something that may fail because of a click; the fault is shown, and nothing else is lost. */
export function guarded(act) {
  return async (...args) => {
    try {
      return await act(...args);
    } catch (error) {
      if (error.name !== "AbortError") complain(error);
      return undefined;
    }
  };
}

/** A modal dialog with a heading; it is taken away once closed. */
export function openDialog(title, body, { kind = "" } = {}) {
  const heading = el("h2", {}, title);
  const made = el("dialog", { class: `dialog ${kind}`, "aria-label": title });
  const close = button({ sign: "close", label: "Close", act: () => made.close(), kind: "quiet round" });
  made.append(el("header", { class: "dialog-head" }, heading, el("span", { class: "grow" }), close), body);
  made.addEventListener("close", () => {
    const toasts = made.querySelector("#toasts");
    if (toasts) document.body.append(toasts);
    made.remove();
  });
  made.addEventListener("click", (event) => {
    if (event.target === made) made.close();
  });
  document.body.append(made);
  made.showModal();
  return made;
}
