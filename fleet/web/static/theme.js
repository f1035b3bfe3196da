// Light, dark, or as the system has it. Loaded before anything is drawn, so that a page never flashes in the other one.

{
  const THEMES = ["system", "light", "dark"];
  const root = document.documentElement;

  const read = () => {
    try {
      const found = localStorage.getItem("fleet-theme");
      return THEMES.includes(found) ? found : "system";
    } catch {
      return "system"; // a browser that keeps nothing
    }
  };

  const apply = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (!button) return;
    const told = `Colours: ${theme === "system" ? "as the system" : theme}`;
    button.setAttribute("aria-label", told);
    button.title = told;
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
        // it holds for this page only
      }
      apply(theme);
      document.dispatchEvent(new Event("themechange"));
    });
  });
}
