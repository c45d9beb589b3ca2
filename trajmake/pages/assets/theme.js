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
  // Within a session's page, and in an archive of Snakemake's, that page is not beside this one. Within it, addresses
  // are those of the page around, and a link to a part of this one would lead there.
  document.addEventListener("click", function (event) {
    const link = event.target.closest && event.target.closest("a[href]");
    const folded = location.protocol === "about:";
    const to = link && link.getAttribute("href");
    if (folded && to && to[0] === "#") location.hash = to;
    else if (folded && to === "../index.html") parent.postMessage("home", "*");
    else if (to === "../index.html" && /\/data\/raw\/[0-9a-f]{16}\//.test(location.pathname)) history.back();
    else return;
    event.preventDefault();
  });
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
