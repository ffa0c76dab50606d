// Playing: a picture, or a clip with controls that reach every frame. Two clips can run in step.

import { button, el, icon, say } from "./dom.js";
import { isCoarse } from "./media.js";

const quiet = matchMedia("(prefers-reduced-motion: reduce)");

/** The element that shows an asset's pixels. */
export function screen(media, asset, alt) {
  const made =
    asset.kind === "video"
      ? el("video", { class: "screen", muted: true, loop: true, playsinline: true, preload: "auto", "aria-label": alt })
      : el("img", { class: "screen", alt });
  made.style.aspectRatio = `${asset.width_px} / ${asset.height_px}`;
  made.style.setProperty("--ratio", asset.width_px / asset.height_px);
  made.classList.toggle("coarse", isCoarse(asset));
  made.ready = media.url(asset.id).then((url) => {
    made.src = url;
  });
  made.ready.catch(() => made.classList.add("missing"));
  return made;
}

/** Controls of one clip, or of several that run in step; the first one leads. */
export class Controls {
  constructor(clips) {
    this.clips = clips;
    const { asset } = clips[0];
    this.fps = asset.fps || 8;
    this.frames = Math.max(...clips.map((clip) => clip.asset.num_frames));
    this.play = button({ sign: "play", label: "Play", act: () => this.toggle(), kind: "quiet round" });
    this.range = el("input", { type: "range", min: 0, max: this.frames - 1, step: 1, value: 0, class: "frames", "aria-label": "Frame", on: { input: () => this.seek(Number(this.range.value)) } });
    this.words = el("span", { class: "frame-words", "aria-hidden": "true" });
    this.element = el(
      "div",
      { class: "controls", role: "group", "aria-label": "Playback" },
      this.play,
      button({ sign: "back", label: "Previous frame", act: () => this.seek(this.frame - 1), kind: "quiet round" }),
      button({ sign: "forward", label: "Next frame", act: () => this.seek(this.frame + 1), kind: "quiet round" }),
      this.range,
      this.words,
      asset.has_audio && clips.length === 1 ? this.#sound() : null,
    );
    const [leader] = clips;
    leader.video.addEventListener("play", () => this.#follow());
    leader.video.addEventListener("pause", () => this.#show());
    leader.video.addEventListener("seeked", () => this.#show());
    leader.video.addEventListener("loadeddata", () => this.#begin(), { once: true });
    leader.video.addEventListener("click", () => this.toggle());
    this.#show();
  }

  get leader() {
    return this.clips[0].video;
  }

  /** The frame that is shown, from 0. */
  get frame() {
    return Math.max(0, Math.min(this.frames - 1, Math.floor(this.leader.currentTime * this.fps + 1e-3)));
  }

  toggle() {
    if (this.leader.paused) for (const { video } of this.clips) video.play().catch(() => {});
    else for (const { video } of this.clips) video.pause();
  }

  /** Stop at a frame. Half a frame in, because a player may round a frame's own time down. */
  seek(frame) {
    const wanted = (frame + this.frames) % this.frames;
    for (const { video, asset } of this.clips) {
      video.pause();
      video.currentTime = (Math.min(wanted, asset.num_frames - 1) + 0.5) / this.fps;
    }
  }

  #begin() {
    if (!quiet.matches) this.toggle();
    this.#show();
  }

  #follow() {
    this.#show();
    const turn = () => {
      if (!this.leader.isConnected || this.leader.paused) return;
      for (const { video } of this.clips.slice(1)) {
        if (Math.abs(video.currentTime - this.leader.currentTime) > 0.5 / this.fps) video.currentTime = this.leader.currentTime;
        if (video.paused) video.play().catch(() => {});
      }
      this.#show();
      requestAnimationFrame(turn);
    };
    requestAnimationFrame(turn);
  }

  #show() {
    const playing = !this.leader.paused;
    if (this.playing !== playing) {
      this.playing = playing;
      this.play.replaceChildren(icon(playing ? "pause" : "play"));
      this.play.setAttribute("aria-label", playing ? "Pause" : "Play");
    }
    const { frame } = this;
    this.range.value = frame;
    this.range.setAttribute("aria-valuetext", `frame ${frame + 1} of ${this.frames}`);
    say(this.words, `${frame + 1} / ${this.frames}`);
  }

  #sound() {
    const made = button({
      sign: "muted",
      label: "Sound",
      kind: "quiet round",
      "aria-pressed": "false",
      act: () => {
        this.leader.muted = !this.leader.muted;
        made.setAttribute("aria-pressed", String(!this.leader.muted));
        made.replaceChildren(icon(this.leader.muted ? "muted" : "sound"));
      },
    });
    return made;
  }
}
