// What every page loads: Tabler, htmx, live pages, copy buttons. HTML declares, TypeScript obeys:
// nothing here knows a page; behaviour hangs on data attributes.
import '@tabler/core/dist/css/tabler.min.css';
import './styles.css';
import '@tabler/core';
import 'htmx.org';
import { copyButtons } from './copy';
import { csrfToken } from './csrf';
import { guards } from './guards';
import { liveEvents } from './live';

interface HtmxRequest {
  ctx?: { request?: { method?: string; headers?: Record<string, string> } };
}

// Django wants its token with every unsafe request; templates need not repeat it.
document.addEventListener('htmx:config:request', (event) => {
  const request = (event as CustomEvent<HtmxRequest>).detail.ctx?.request;
  if (request?.headers && !['GET', 'HEAD'].includes((request.method ?? 'GET').toUpperCase())) {
    request.headers['X-CSRFToken'] = csrfToken();
  }
});

copyButtons(document);
guards(document);
liveEvents(document);
