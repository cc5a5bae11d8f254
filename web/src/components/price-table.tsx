import { formatNumber } from "../format.ts";
import { formatMoney, PRICES, STORAGE_LIMIT } from "../prices.ts";

/** The price per note, by the number of notes in a purchase. */
export function PriceTable() {
  return (
    <table className="price-table">
      <thead>
        <tr>
          <th scope="col">Notes per purchase</th>
          <th scope="col">Price per note</th>
        </tr>
      </thead>
      <tbody>
        {PRICES.map(({ from, each }, row) => (
          <tr key={from}>
            <td>
              {formatNumber(from)} to {formatNumber((PRICES[row + 1]?.from ?? STORAGE_LIMIT + 1) - 1)}
            </td>
            <td>{formatMoney(each)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
