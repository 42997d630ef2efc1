// Chooses light or dark before anything is drawn. A classic script: it has to run at once.
"use strict";
(() => {
  let chosen = "";
  try {
    chosen = localStorage.getItem("pbx-stir-theme") ?? "";
  } catch {
    // storage may be forbidden: then the system's choice stands
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
