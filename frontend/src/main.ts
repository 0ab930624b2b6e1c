// Loaded by every page: Tabler, htmx, live pages, copy buttons. Behaviour is declared by data
// attributes in the HTML; nothing here is specific to one page.
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

// Django requires its token with every unsafe request; templates need not repeat it.
document.addEventListener('htmx:config:request', (event) => {
  const request = (event as CustomEvent<HtmxRequest>).detail.ctx?.request;
  if (request?.headers && !['GET', 'HEAD'].includes((request.method ?? 'GET').toUpperCase())) {
    request.headers['X-CSRFToken'] = csrfToken();
  }
});

copyButtons(document);
guards(document);
liveEvents(document);
