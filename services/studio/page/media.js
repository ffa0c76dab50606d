// Pictures and clips as object URLs: they are fetched with the tab's key, which no `src` could carry.

import { el } from "./dom.js";

const MOST_BYTES = 256 * 1024 * 1024;

/** What was fetched, the latest used last; the oldest go when it is too much. */
export class MediaStore {
  #api;
  #held = new Map();
  #bytes = 0;

  constructor(api) {
    this.#api = api;
  }

  /** The bytes of an asset. */
  async blob(assetId) {
    return (await this.#entry(assetId)).blob;
  }

  /** A URL for an asset, good while it is among the latest used. */
  async url(assetId) {
    return (await this.#entry(assetId)).url;
  }

  /** Let go of everything. */
  clear() {
    for (const id of [...this.#held.keys()]) this.#drop(id);
  }

  #entry(assetId) {
    const held = this.#held.get(assetId) ?? { bytes: 0, promise: this.#fetch(assetId) };
    this.#held.delete(assetId);
    this.#held.set(assetId, held);
    return held.promise;
  }

  async #fetch(assetId) {
    try {
      const blob = await (await this.#api.send(`assets/${assetId}/content`)).blob();
      const entry = { blob, url: URL.createObjectURL(blob) };
      const held = this.#held.get(assetId);
      if (held) {
        held.bytes = blob.size;
        this.#bytes += blob.size;
      }
      for (const id of this.#held.keys()) {
        if (this.#bytes <= MOST_BYTES || id === assetId) break;
        this.#drop(id);
      }
      return entry;
    } catch (error) {
      this.#held.delete(assetId);
      throw error;
    }
  }

  #drop(assetId) {
    const held = this.#held.get(assetId);
    this.#held.delete(assetId);
    this.#bytes -= held.bytes;
    held.promise.then(({ url }) => URL.revokeObjectURL(url)).catch(() => {});
  }
}

/** A small picture of an asset; a clip shows its first frame. `alt` is empty where words beside it say the same. */
export function thumbnail(media, asset, alt = "") {
  const made =
    asset.kind === "video"
      ? el("video", { class: "thumb", muted: true, playsinline: true, preload: "auto", "aria-label": alt || undefined, "aria-hidden": alt ? undefined : "true", tabindex: "-1" })
      : el("img", { class: "thumb", alt, draggable: "false" });
  made.classList.toggle("coarse", isCoarse(asset));
  media.url(asset.id).then(
    (url) => (made.src = url),
    () => made.classList.add("missing"),
  );
  return made;
}

/** Whether an asset has so few pixels that they are better seen one by one than smeared. */
export function isCoarse(asset) {
  return Math.max(asset.width_px, asset.height_px) <= 48;
}

/** The picture that stands for a job's result: its poster, or the result itself. */
export function posterOf(assets) {
  return assets.find((asset, index) => asset.kind === "image" && (index > 0 || assets.length === 1)) ?? assets[0];
}

/** Save an asset as a file. */
export async function download(media, asset) {
  const link = el("a", { href: await media.url(asset.id), download: asset.filename || asset.id });
  link.click();
}
