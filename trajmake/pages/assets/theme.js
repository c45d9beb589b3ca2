// Light or dark: the system's, until the button is pressed; then what was chosen, on all pages of this place.
(function () {
  "use strict";
  const root = document.documentElement;
  root.classList.add("scripted");
  function stored() {
    try { return localStorage.getItem("trajmake-theme"); } catch { return null; } // refused for some file:// pages
  }
  function apply(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  }
  apply(stored());
  document.addEventListener("DOMContentLoaded", function () {
    const button = document.getElementById("theme");
    if (!button) return;
    button.addEventListener("click", function () {
      const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      const next = (root.dataset.theme || system) === "dark" ? "light" : "dark";
      apply(next);
      try { localStorage.setItem("trajmake-theme", next); } catch { /* it lasts as long as the page */ }
      root.dispatchEvent(new CustomEvent("themechange", { detail: next }));
    });
  });
})();
