// Marks on a picture: what they are, and how they are painted. Places are fractions of the picture's sides.

const RIM = "#14121a";
const HEAD_ANGLE = 0.6;
const DEFAULT_REACH = 0.12;

/** Widths of lines as fractions of the longer side. The boldest is what small pictures need to show it at all. */
export const WIDTHS = { fine: 0.008, medium: 0.016, bold: 0.04 };

/** From one place to another, whatever the kind: tail to tip, or centre to rim. A click alone has a reach of its own. */
export function newMark(kind, from, to, color, width, text = "") {
  const distance = Math.hypot(to.x - from.x, to.y - from.y);
  const end = distance < 0.015 && kind !== "text" ? { x: from.x + (kind === "arrow" ? 2 : 1) * DEFAULT_REACH, y: from.y } : to;
  return { kind, from, to: end, color, width, text };
}

/** Paint marks over what a canvas holds. */
export function paint(canvas, marks) {
  const context = canvas.getContext("2d");
  context.lineCap = context.lineJoin = "round";
  for (const mark of marks) paintOne(context, mark, canvas.width, canvas.height);
}

function paintOne(context, mark, width, height) {
  const side = Math.max(width, height);
  const [x, y, toX, toY] = [mark.from.x * width, mark.from.y * height, mark.to.x * width, mark.to.y * height];
  const line = WIDTHS[mark.width] * side;
  if (mark.kind === "text") {
    paintText(context, mark, x, y, Math.max(side / 16, line * 3), line / 3);
    return;
  }
  const path = new Path2D();
  if (mark.kind === "ring") {
    path.arc(x, y, Math.hypot(toX - x, toY - y), 0, 2 * Math.PI);
  } else if (mark.kind === "cross") {
    const reach = Math.max(Math.abs(toX - x), Math.abs(toY - y));
    path.moveTo(x - reach, y - reach);
    path.lineTo(x + reach, y + reach);
    path.moveTo(x + reach, y - reach);
    path.lineTo(x - reach, y + reach);
  } else {
    const heading = Math.atan2(toY - y, toX - x);
    const head = Math.max(line * 2.3, Math.min(side / 10, Math.hypot(toX - x, toY - y) / 2));
    path.moveTo(x, y);
    path.lineTo(toX, toY);
    for (const turn of [-HEAD_ANGLE, HEAD_ANGLE]) {
      path.moveTo(toX, toY);
      path.lineTo(toX - head * Math.cos(heading + turn), toY - head * Math.sin(heading + turn));
    }
  }
  // A dark rim, so that a mark shows on any ground.
  context.strokeStyle = RIM;
  context.lineWidth = line * 1.75;
  context.stroke(path);
  context.strokeStyle = mark.color;
  context.lineWidth = line;
  context.stroke(path);
}

function paintText(context, mark, x, y, size, rim) {
  context.font = `700 ${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.strokeStyle = RIM;
  context.lineWidth = Math.max(rim * 2, size / 6);
  context.strokeText(mark.text, x, y);
  context.fillStyle = mark.color;
  context.fillText(mark.text, x, y);
}

/** A mark in words. */
export function describe(mark, colors) {
  const place = ({ x, y }) => `${Math.round(100 * x)} %, ${Math.round(100 * y)} %`;
  const color = colors.find(([value]) => value === mark.color)?.[1] ?? mark.color;
  if (mark.kind === "text") return `${color} text “${mark.text}” at ${place(mark.from)}`;
  if (mark.kind === "arrow") return `${color} arrow from ${place(mark.from)} to ${place(mark.to)}`;
  return `${color} ${mark.kind} at ${place(mark.from)}`;
}

/** The picture, large enough to be drawn on finely. Whole multiples of its pixels, so that sizing it down gives it back. */
export function enlarged(picture) {
  const times = Math.max(1, Math.ceil(512 / Math.max(picture.width, picture.height)));
  const canvas = document.createElement("canvas");
  canvas.width = picture.width * times;
  canvas.height = picture.height * times;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}
