// The forms of the panel, in the order in which they are tried: what is typed, and what is seen then.
//
// `form`    METHOD and shape of the address (`routes.mjs`), and ` name=value` of a button that has a name
// `at`      the path of a page that has it, made with the API; without: the first page that the walk found
// `wrong`   values that are refused: the same fields, with a `status` of 422
// `values`  by the names of the fields; true and false for boxes, a list for several boxes of a name; or a
//           function that makes them
// `sees`    a text or a pattern of the page that comes, or a function of the page that throws
// `button`  the name of the button, when there are several
// `then`    forms of the page that comes, one after the other, each with `form`, `values` and `sees`
// `optional` no page may have it
// `frame`   the answer is shown in a frame, and has this text

import { ADMINISTRATION } from './form_table_admin.mjs';
import { CONTENT } from './form_table_content.mjs';
import { LISTS } from './form_table_lists.mjs';
import { RELAY } from './form_table_relay.mjs';
import { USERS } from './form_table_users.mjs';

export const TABLE = [...CONTENT, ...LISTS, ...ADMINISTRATION, ...RELAY, ...USERS];
