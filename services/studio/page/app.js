// The studio: puts the parts together and keeps the address in step, so that a reload comes back to the same place.

import { Api } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { announce, button, el, fill, guarded, say } from "./dom.js";
import { drawOn } from "./drawing.js";
import { acceptDrops } from "./inputs.js";
import { Lineage } from "./lineage.js";
import { MediaStore, download } from "./media.js";
import { Player } from "./player.js";
import { askForKey, themeButton } from "./preferences.js";
import { chooseSession } from "./sessions.js";
import { Store } from "./store.js";

const EXAMPLES = ["a yellow star moves left over a meadow", "a red ring that stays still", "a blue disc moves up in the night"];
const narrow = matchMedia("(max-width: 899px)");

const api = new Api();
const store = new Store(api, new MediaStore(api));

const actions = {
  show(number) {
    player.comparison = null;
    store.select(number);
    if (narrow.matches) go("stage");
  },
  review(number) {
    go("conversation");
    const plan = document.querySelector(`[data-turn="${number}"] .plan`);
    plan?.scrollIntoView({ block: "start" });
    plan?.focus();
  },
  async branch(number) {
    await store.moveHead(number);
    go("conversation");
    composer.words.focus();
  },
  async toStart() {
    await store.moveHead(0);
    composer.words.focus();
  },
  async replay(number) {
    await store.replay(number);
  },
  async download(turn) {
    await download(store.media, turn.job.assets[0]);
    announce(`The result of turn ${turn.number} is saved`);
  },
  use(turn) {
    composer.inputs.addTag(`turn${turn.number}`, turn.job.assets[0], "reference");
    go("conversation");
    composer.words.focus();
  },
  async drawOn() {
    const { canvas, tag, asset } = await player.picture();
    const drawn = await drawOn(canvas, { name: tag, hint: drawingHint() });
    if (drawn && drawn.part) composer.inputs.addTag(tag, asset, drawn.part);
    await takeDrawing(drawn);
  },
};

async function drawOnInput(entry) {
  const picture = await createImageBitmap(await store.media.blob(entry.asset.id));
  const drawn = await drawOn(picture, { name: entry.called, hint: drawingHint() });
  if (drawn && !entry.select.value) entry.select.value = drawn.part;
  await takeDrawing(drawn);
}

async function takeDrawing(drawn) {
  if (!drawn) return;
  go("conversation");
  const entry = await composer.inputs.addDrawing(drawn.blob);
  if (entry && !composer.words.value.trim()) composer.write(`do what is drawn on ${entry.called}`);
}

function drawingHint() {
  return store.model?.can_plan === false ? "The weights that are served have not learnt to read drawings, so such a turn will be refused." : "";
}

/** Show one of the parts, where there is room for one only. */
function go(view) {
  document.body.dataset.view = view;
  for (const one of document.querySelectorAll("[data-go]")) one.setAttribute("aria-pressed", String(one.dataset.go === view));
}

function openSession(id) {
  composer.fresh = false;
  player.comparison = null;
  go("conversation");
  return guarded(() => store.open(id))();
}

async function start() {
  const address = new URLSearchParams(location.hash.slice(1));
  const models = await api.json("models");
  store.model = models.data[0];
  composer.settings.fit(store.model);
  const badge = document.getElementById("model");
  badge.hidden = false;
  badge.textContent = store.model.id;
  badge.title = "The preset that is served";
  try {
    await store.open(address.get("session"), Number(address.get("turn")) || null);
  } catch (error) {
    // A conversation that is gone, or another key's: begin a new one, and say why.
    await store.open(null);
    throw error;
  }
}

const composer = new Composer(store, drawOnInput);
const conversation = new Conversation(store, actions);
const player = new Player(store, actions);
new Lineage(store, actions);
acceptDrops(composer.inputs);
themeButton();

const askKey = (why) => askForKey(api, () => guarded(start)(), why);
api.onRefused = askKey;
document.getElementById("open-key").addEventListener("click", () => askKey());
document.getElementById("open-sessions").addEventListener("click", () => chooseSession(store, openSession));
document.getElementById("undo").addEventListener("click", guarded(() => store.undo()));
for (const one of document.querySelectorAll("[data-go]")) one.addEventListener("click", () => go(one.dataset.go));
fill(document.getElementById("examples"), EXAMPLES.map((words) => el("li", {}, button({ words, kind: "example", act: () => composer.write(words) }))));

let selected = null;
store.addEventListener("change", () => {
  const { session } = store;
  say(document.getElementById("session-title"), session ? session.title || "Without a title" : "New conversation");
  document.getElementById("undo").disabled = !store.head;
  document.title = session ? `${session.title || "Conversation"} · VOGUE Studio` : "VOGUE Studio";
  const address = session ? `#session=${session.id}${store.selected ? `&turn=${store.selected}` : ""}` : " ";
  if (location.hash !== address.trim()) history.replaceState(null, "", session ? address : location.pathname);
  if (store.selected !== selected) conversation.reveal((selected = store.selected));
});
store.addEventListener("connection", ({ detail: connected }) => (document.getElementById("connection").hidden = connected));
document.addEventListener("visibilitychange", () => !document.hidden && store.refresh().catch(() => {}));
addEventListener("hashchange", () => {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("session");
  if (wanted && wanted !== store.session?.id) openSession(wanted);
});

guarded(start)();
