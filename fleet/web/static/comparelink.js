// Addresses of the page that compares sensors.

export const MAX_COMPARED = 6; // as in pages.py

/** The address of the page with these sensors; `parameters` are further ones, such as its range. */
export function compareLink(ids, parameters = "") {
  const query = new URLSearchParams(parameters);
  query.delete("place");
  query.delete("sensors");
  const others = query.toString();
  return `/compare?sensors=${ids.map(encodeURIComponent).join(",")}${others ? `&${others}` : ""}`;
}

export const comparePlaceLink = (place) => `/compare?place=${encodeURIComponent(place)}`;
