// Light, dark or the system's theme. Loaded as a plain script in <head>, before the first paint, so
// that a dark page never flashes white. Sets data-bs-theme on <html>; buttons carry data-theme-choice.
// Everything that can load later is in main.ts.
{
  const KEY = 'webxen-theme';
  type Choice = 'light' | 'dark' | 'system';
  const root = document.documentElement;
  const system = window.matchMedia('(prefers-color-scheme: dark)');

  const stored = (): Choice => {
    try {
      const value = localStorage.getItem(KEY);
      return value === 'light' || value === 'dark' ? value : 'system';
    } catch {
      return 'system'; // storage is not allowed: use the system's theme
    }
  };

  const show = (choice: Choice): void => {
    const dark = choice === 'dark' || (choice === 'system' && system.matches);
    root.setAttribute('data-bs-theme', dark ? 'dark' : 'light');
    root.setAttribute('data-theme-chosen', choice);
    for (const button of document.querySelectorAll('[data-theme-choice]')) {
      const isChosen = button.getAttribute('data-theme-choice') === choice;
      button.setAttribute('aria-pressed', String(isChosen));
      button.classList.toggle('active', isChosen);
    }
  };

  show(stored());
  system.addEventListener('change', () => show(stored()));
  document.addEventListener('DOMContentLoaded', () => show(stored()));
  document.addEventListener('click', (event) => {
    const button = (event.target as Element | null)?.closest?.('[data-theme-choice]');
    const choice = button?.getAttribute('data-theme-choice');
    if (choice !== 'light' && choice !== 'dark' && choice !== 'system') return;
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // storage is not allowed: the choice applies to this page only
    }
    show(choice);
  });
}
