import { count, money } from "../format.ts";
import { PRICES, STORAGE_LIMIT } from "../prices.ts";

/** What a note costs, by how many are bought at once. */
export function PriceTable() {
  return (
    <table className="price-table">
      <thead>
        <tr>
          <th scope="col">Notes bought at once</th>
          <th scope="col">Each</th>
        </tr>
      </thead>
      <tbody>
        {PRICES.map(({ from, each }, row) => (
          <tr key={from}>
            <td>
              {count(from)} to {count((PRICES[row + 1]?.from ?? STORAGE_LIMIT + 1) - 1)}
            </td>
            <td>{money(each)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
