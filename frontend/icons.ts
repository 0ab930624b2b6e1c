// The icon sprite: icons.svg, one <symbol> an icon, used as
// <svg class="icon"><use href="{% static 'webxen/icons.svg' %}#server"/></svg>.
// To add an icon, add its name (https://tabler.io/icons) to the list and rebuild.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'vite';

const NAMES = `
  affiliate alert-triangle api arrow-down arrow-left arrow-right arrow-up arrow-bar-to-down bell bolt
  book brand-debian brand-github camera check checklist chevron-down chevron-left chevron-right
  chevron-up circle-check circle-dashed circle-x clipboard-list clock cloud-off copy cpu cpu-2 cube
  database device-desktop device-floppy disc dots dots-vertical download external-link eye file-text
  filter gauge ghost git-branch hand-stop history home hourglass inbox info-circle key keyboard
  language letter-case letter-case-lower letter-case-upper list-check loader-2 lock login logout
  maximize menu-2 message-question minimize mood-empty moon network pencil photo player-pause
  player-play player-stop plug plug-connected plug-off plus power refresh reload rotate route search
  send server server-2 settings shield shield-lock skull stack-2 sun sun-moon terminal-2 text-size
  thumb-down thumb-up trash user users wifi-off world x zoom-in zoom-out
`;

function symbol(name: string): string {
  const file = new URL(`node_modules/@tabler/icons/icons/outline/${name}.svg`, import.meta.url);
  const svg = readFileSync(fileURLToPath(file), 'utf8').replace(/<!--[\s\S]*?-->/g, '');
  const body = /<svg[^>]*>([\s\S]*)<\/svg>/.exec(svg)?.[1];
  if (body === undefined) throw new Error(`icon ${name} is not an SVG`);
  const paths = body.replace(/<path stroke="none"[^>]*\/>/g, '').replace(/\s*\n\s*/g, '');
  return `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round">${paths}</symbol>`;
}

export function iconSprite(): Plugin {
  return {
    name: 'webxen-icons',
    generateBundle() {
      const symbols = NAMES.trim().split(/\s+/).sort().map(symbol).join('\n');
      this.emitFile({
        type: 'asset',
        fileName: 'icons.svg',
        source: `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols}\n</svg>\n`,
      });
    },
  };
}
