// Finds Django's CSRF token in the page: a meta tag, a form's hidden field or, last, the cookie.

export function csrfToken(root: Document = document): string {
  const meta = root.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content;
  if (meta) return meta;
  const field = root.querySelector<HTMLInputElement>('input[name="csrfmiddlewaretoken"]')?.value;
  if (field) return field;
  return /(?:^|;\s*)(?:__Host-|__Secure-)?csrftoken=([^;]+)/.exec(root.cookie)?.[1] ?? '';
}
