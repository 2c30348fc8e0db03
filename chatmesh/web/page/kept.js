// What this browser keeps for the page: until the tab is closed, or for good. One that keeps nothing forgets it at once.

const reaching = (storage) => ({
  get(name) {
    try {
      return storage().getItem(name);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      storage().setItem(name, value);
    } catch {
      // no room, or not allowed
    }
  },
});

export const inTab = reaching(() => sessionStorage);
export const forGood = reaching(() => localStorage);
