// The theme: light, dark, or the system's. Loaded before the page is drawn, so that it does not flash in another theme.

{
  const THEMES = ["system", "light", "dark"];
  const root = document.documentElement;

  const read = () => {
    try {
      const stored = localStorage.getItem("fleet-theme");
      return THEMES.includes(stored) ? stored : "system";
    } catch {
      return "system"; // the browser has no storage
    }
  };

  const apply = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (!button) return;
    const label = `Colours: ${theme === "system" ? "as the system" : theme}`;
    button.setAttribute("aria-label", label);
    button.title = label;
  };

  let theme = read();
  apply(theme);
  document.addEventListener("DOMContentLoaded", () => {
    apply(theme);
    document.getElementById("theme").addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      try {
        localStorage.setItem("fleet-theme", theme);
      } catch {
        // without storage the choice holds for this page only
      }
      apply(theme);
      document.dispatchEvent(new Event("themechange"));
    });
  });
}
