// Small tools for the page. Text of users only ever goes into textContent.

/**
 * @template {Element} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T} the page's element of this id, which is part of index.html
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

/**
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function child(parent, selector) {
  const element = parent.querySelector(selector);
  if (!(element instanceof HTMLElement)) throw new Error(`the page has no ${selector}`);
  return element;
}

/**
 * Sets a text where it is another, as screen readers read again what is set again.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of a list those of the items, in their order. Elements are kept by key, and
 * with them focus and scroll position.
 *
 * @template T
 * @param {HTMLElement} list
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {HTMLTemplateElement} template
 * @param {(element: HTMLElement, item: T) => void} update
 */
export function renderList(list, items, keyOf, template, update) {
  const old = new Map([...list.children].map((element) => [/** @type {HTMLElement} */ (element).dataset.key, element]));
  let last = /** @type {Element | null} */ (null);
  for (const item of items) {
    const key = keyOf(item);
    const element = /** @type {HTMLElement} */ (old.get(key) ?? template.content.firstElementChild?.cloneNode(true));
    old.delete(key);
    element.dataset.key = key;
    update(element, item);
    const place = last ? last.nextElementSibling : list.firstElementChild;
    if (element !== place) list.insertBefore(element, place);
    last = element;
  }
  for (const element of old.values()) element.remove();
}

/**
 * Sets or removes attributes of an element: true is "", false and undefined are none.
 *
 * @param {HTMLElement} element
 * @param {Record<string, string | boolean | undefined>} values  data- attributes, in camel case
 */
export function setData(element, values) {
  for (const [name, value] of Object.entries(values)) {
    if (value === false || value === undefined) delete element.dataset[name];
    else element.dataset[name] = value === true ? "" : value;
  }
}
