// Runs before anything is painted, so that a chosen theme does not flash in the other colours first.
try {
  const chosen = localStorage.getItem("vogue-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is closed to this page: the system's colours then.
}
