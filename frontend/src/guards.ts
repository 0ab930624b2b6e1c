// Confirmations: <form data-confirm="This deletes…"> asks before it is sent; a button with
// data-enabled-when="NAME" data-reads="#field" stays disabled until the field contains that text; one with
// data-disabled-by="SELECTOR" is disabled while the page shows such an element.
// The server checks again; this only saves a request.

export function guards(root: Document): void {
  root.addEventListener('submit', (event) => {
    const form = event.target as HTMLFormElement;
    const submitter = (event as SubmitEvent).submitter;
    const question = submitter?.dataset['confirm'] ?? form.dataset['confirm'];
    if (question && !window.confirm(question)) event.preventDefault();
  });
  const settle = (): void => {
    for (const button of root.querySelectorAll<HTMLButtonElement>('button[data-enabled-when]')) {
      const field = root.querySelector<HTMLInputElement>(button.dataset['reads'] ?? '');
      button.disabled = field?.value !== button.dataset['enabledWhen'];
    }
  };
  const obey = (): void => {
    for (const button of root.querySelectorAll<HTMLButtonElement>('button[data-disabled-by]')) {
      button.disabled = root.querySelector(button.dataset['disabledBy'] ?? '') !== null;
    }
  };
  root.addEventListener('input', settle);
  root.addEventListener('htmx:after:settle', obey);
  settle();
  obey();
}
